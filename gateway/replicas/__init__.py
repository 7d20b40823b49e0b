"""Which replicas of which models are loaded, whether they live, and who is served by them."""
