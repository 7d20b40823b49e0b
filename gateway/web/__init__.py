"""What all routes share: request and reply, keys, limits, logs, metrics, CORS."""
