"""Predictions for applications: records, caches, a typed client, an HTTP service, and exports."""
