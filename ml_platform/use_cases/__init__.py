"""What product teams own: one folder per use case."""
