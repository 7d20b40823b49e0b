"""One process a system: the same small protocol in front of each. Imports nothing heavy."""
