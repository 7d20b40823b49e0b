"""The exit codes of `gpt2`."""

DONE, FAILED, USAGE, NO_ANSWER, INTERRUPTED, LEFT = 0, 1, 2, 3, 130, 141
