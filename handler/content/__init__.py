"""Bytes, text and JSON as they come in and go out: nothing here knows what a request is."""
