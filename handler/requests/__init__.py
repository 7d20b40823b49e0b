"""Requests: validated, and turned into sequences for the engine."""
