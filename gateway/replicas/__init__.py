"""The replicas of each model: loaded, watched, chosen for requests, scaled and put away."""
