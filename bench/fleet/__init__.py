"""A fleet of instances, simulated from the measured curve of one: docs/scale.md."""
