"""Builds the `.mar` from a checkpoint: checks, quantisation, quality gate, packing."""
