"""Which replicas of which models are loaded, whether they still work, and who is served by them."""
