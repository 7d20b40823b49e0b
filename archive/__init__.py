"""Builds the `.mar` from a checkpoint: checks, ONNX graph, quantisation, quality gate, packing."""
