"""What may be asked, and from whatever a client sent to what the engine is to write."""
