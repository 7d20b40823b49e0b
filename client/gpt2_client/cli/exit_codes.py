"""How `gpt2` ends, as a shell sees it."""

DONE, FAILED, USAGE, NO_ANSWER, INTERRUPTED, LEFT = 0, 1, 2, 3, 130, 141
