"""Hostile bytes at the door: what never ends, and what a grammar of broken HTTP makes."""
