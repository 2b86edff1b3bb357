"""The stages of the lifecycle as plain functions: domain packages composed with the stores, without Dagster."""
