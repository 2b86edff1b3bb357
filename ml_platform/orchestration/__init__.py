"""The Dagster layer: thin stages, jobs, schedules, sensors and checks."""
