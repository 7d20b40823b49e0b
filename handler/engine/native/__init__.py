"""GPT-2's step in C: kernels, their libraries, and the layout of the weights that they read."""
