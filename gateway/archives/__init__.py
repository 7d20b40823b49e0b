"""Archives of the model store: judged before anybody unpacks them, read, fetched."""
