"""What comes back: whole, streamed, in each client's form, and errors."""
