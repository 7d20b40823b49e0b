"""Files of many requests in OpenAI's batch format: the same answers whatever happens on the way."""
