"""Writes a checkpoint in the peers' own formats; each file runs in its peer's environment."""
