"""The Dagster layer: thin stages, jobs, schedules, sensors and checks."""

import warnings

from dagster import BetaWarning, PreviewWarning

# Backfill policies are used knowingly; a warning per asset and process would bury what matters.
warnings.filterwarnings("ignore", category=BetaWarning)
warnings.filterwarnings("ignore", category=PreviewWarning)
