"""Overload: load beyond what can be served, against what is served and how long it waits."""
