"""What can go wrong in a training run, said in one line for the person who started it."""


class TrainingError(Exception):
    """The run cannot go on; the message names the cause and what would be right."""
