"""The platform as a Dagster resource."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from dagster import ConfigurableResource, InitResourceContext

from ml_platform.lifecycle.platform import Platform
from ml_platform.orchestration.limits import watched_run


class PlatformResource(ConfigurableResource[Platform]):
    """Lake, ledger, tracking and serving cache, addressed by the ``ML_PLATFORM_*`` variables."""

    def get(self) -> Platform:
        """The platform; stores are opened when they are first used."""
        return Platform()

    @contextlib.contextmanager
    def yield_for_execution(  # type: ignore[override]
        self, context: InitResourceContext
    ) -> Iterator[PlatformResource]:
        """While a run has it, the run's limits are watched."""
        with watched_run(context.instance, context.run):
            yield self
