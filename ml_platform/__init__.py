"""An ML lifecycle platform on Dagster that finds the cause before it retrains."""
