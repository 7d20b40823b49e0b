"""The routes: what each does with a request."""
