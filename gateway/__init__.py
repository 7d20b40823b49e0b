"""The public face: all that the outside ever reaches. Knows nothing of tokens."""

__version__ = "0.2.0"
