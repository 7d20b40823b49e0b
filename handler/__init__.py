"""All code that goes into the archive."""
