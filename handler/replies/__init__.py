"""What comes back: whole, streamed, in each client's format, and errors."""
