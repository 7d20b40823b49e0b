"""From a prediction to TorchServe, and its reply back, streamed or whole."""
