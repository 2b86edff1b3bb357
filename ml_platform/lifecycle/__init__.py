"""The stages of the lifecycle as plain functions that compose domain packages with the stores."""
