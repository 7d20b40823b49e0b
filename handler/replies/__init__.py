"""Replies: whole, streamed, in each client's format, and errors."""
