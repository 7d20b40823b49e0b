"""Starts TorchServe: command line, configuration, environment, folders."""
