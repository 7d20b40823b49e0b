"""What is served when more is asked for than can be: load against served, and against waiting."""
