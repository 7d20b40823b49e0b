"""The steady test: whether memory stays constant under short requests without faults."""
