"""A plain TorchServe handler for transformers, as tutorials show it: the thing to be beaten."""
