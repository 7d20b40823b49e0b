"""Everything specific to TorchServe: messages, parameters, metrics, patches to its worker."""
