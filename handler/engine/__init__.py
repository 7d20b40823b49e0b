"""Generates text: scheduler, model, sampler, detokenizer. Knows neither TorchServe nor HTTP."""
