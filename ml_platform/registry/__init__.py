"""Promotion, approval and rollback in the ledger, and their projection into MLflow."""
