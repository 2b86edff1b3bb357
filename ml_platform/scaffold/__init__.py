"""A new use case from a file: looks at the data, proposes, and writes one folder."""
