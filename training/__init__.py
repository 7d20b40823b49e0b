"""Trains, fine-tunes and measures GPT-2 checkpoints; nothing of it runs in the service."""
