"""What can go wrong while packaging, said in one line for the person who asked for it."""


class PackagingError(Exception):
    """The archive cannot be built; the message says why and what would be taken."""


class CheckpointError(PackagingError):
    """The checkpoint is not one that can be served."""
