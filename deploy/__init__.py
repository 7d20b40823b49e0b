"""Puts the service on Google Cloud Run: the plan of `gcloud` commands, and their running."""
