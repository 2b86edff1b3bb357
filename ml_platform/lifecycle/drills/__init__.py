"""Drills: known incidents injected into a use case's own feeds in a sandbox, judged against the truth."""
