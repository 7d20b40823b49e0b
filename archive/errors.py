"""Errors of packaging, each with a one-line message for the person who asked for it."""


class PackagingError(Exception):
    """The archive cannot be built; the message says why and what would be taken."""


class CheckpointError(PackagingError):
    """The checkpoint is not one that can be served."""
