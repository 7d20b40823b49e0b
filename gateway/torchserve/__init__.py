"""TorchServe as a child process, and the connections to it."""
