"""Errors of a training run, each with a one-line message for the person who started it."""


class TrainingError(Exception):
    """The run cannot go on; the message names the cause and what would be right."""
