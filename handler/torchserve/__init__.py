"""What knows TorchServe: its messages, its parameters, its metrics, and patches to its worker."""
