"""Content-addressed dataset versions."""
