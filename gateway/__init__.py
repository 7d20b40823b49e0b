"""The public face: all that the outside ever reaches. Knows nothing of tokens."""
