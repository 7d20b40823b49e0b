"""Whether the service loses anything: mixed requests beside faults, each reply compared."""
