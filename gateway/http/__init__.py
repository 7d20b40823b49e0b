"""The HTTP server: connections, heads and bodies, all of them bounded. Knows no routes."""
