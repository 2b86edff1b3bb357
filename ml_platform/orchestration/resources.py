"""The platform as a Dagster resource."""

from __future__ import annotations

from dagster import ConfigurableResource

from ml_platform.lifecycle.platform import Platform


class PlatformResource(ConfigurableResource[Platform]):
    """Lake, ledger, tracking and serving cache, addressed by the ``ML_PLATFORM_*`` variables."""

    def get(self) -> Platform:
        """The platform; stores are opened when they are first used."""
        return Platform()
