"""Prompts as bombs: requests that cost the service much, beside a neighbour's stream."""
