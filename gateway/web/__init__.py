"""What every route needs: a request and its reply, keys, limits, logs, metrics, CORS."""
