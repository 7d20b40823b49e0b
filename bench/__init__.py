"""Measures this project beside its peers, interleaved in one session. Serves nothing."""
