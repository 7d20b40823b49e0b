"""What TorchServe is started with: command line, configuration, environment, folders."""
