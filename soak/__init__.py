"""The soak test: mixed requests beside faults, each reply compared with its reference."""
