"""Writes texts: scheduler, model, sampler, text. Knows neither TorchServe nor HTTP."""
