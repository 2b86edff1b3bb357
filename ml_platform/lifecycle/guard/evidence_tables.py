"""The tables that the questions of a diagnosis share; each is read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import pandas as pd
import pyarrow as pa

from ml_platform.diagnosis.evidence import IncidentFacts
from ml_platform.errors import PlatformError
from ml_platform.lifecycle import views
from ml_platform.lifecycle.guard.live import Live
from ml_platform.lifecycle.guard.records import cleared_partitions, ever_held
from ml_platform.lifecycle.maturity import label_keys, maturity_of
from ml_platform.lifecycle.reference import (
    Reference,
    backtest_of,
    daily_losses,
    reference_of,
    with_features_of,
)
from ml_platform.model_config import ModelConfig
from ml_platform.monitoring.label_maturity import LabelMaturity


class Tables:
    """What one diagnosis may look at.

    Args:
        live: The champion's served partitions as of an instant.
        incident: The open incident.
        given: Features of the last served partitions, where they have been rebuilt already.
        fixed: Partitions whose features as served are left out.
    """

    def __init__(
        self,
        live: Live,
        incident: IncidentFacts | None = None,
        given: Mapping[str, pa.Table] | None = None,
        fixed: Sequence[str] = (),
    ) -> None:
        self.live, self.incident, self.given, self.fixed = live, incident, given, fixed
        self.platform, self.target = live.platform, live.target
        self.settings = live.target.model.diagnosis

    @cached_property
    def model(self) -> ModelConfig:
        """The model's settings, with the features that the champion can be compared in."""
        return with_features_of(self.reference.rows, self.target.model)

    @cached_property
    def reference(self) -> Reference:
        """The champion's frozen reference."""
        return reference_of(self.platform, self.target, self.live.promotion, self.live.as_of)

    @cached_property
    def backtest_losses(self) -> dict[str, float]:
        """Losses by partition of the back-test that the promotion rested on.

        Raises:
            PlatformError: It cannot be read.
        """
        found = backtest_of(self.platform, self.target, self.live.promotion)
        if found.rows is None:
            raise PlatformError(found.reason, where=self.target.key)
        return daily_losses(self.target, found.rows)

    @cached_property
    def reference_frame(self) -> pd.DataFrame:
        """The reference's rows.

        Raises:
            PlatformError: There are none.
        """
        if self.reference.rows is None:
            raise PlatformError(self.reference.reason, where=self.target.key)
        frame: pd.DataFrame = self.reference.rows.to_pandas()
        return frame

    @cached_property
    def window_keys(self) -> list[str]:
        """The last served partitions, but for those that are known to have been broken.

        What was served under another cutoff or known_at cannot be held against what today's rebuild, nor by a
        model from before a feature was added against a reference that has it.
        """
        over = {*self.fixed, *cleared_partitions(self.platform, self.target, self.live.as_of)}
        last = list(self.live.heads)[-self.settings.covariate_partitions :]
        return [k for k in last if k not in over and self.live.served_as_now(k) and self._told(k)]

    def _told(self, key: str) -> bool:
        return self.live.served_with(key, self.model.feature_names)

    @cached_property
    def window(self) -> pd.DataFrame:
        """The last served partitions, features as served."""
        served = self.live.served(self.window_keys)
        if served is None:
            since = " since the last incident, or with the champion's features, cutoff and known_at"
            why = "nothing has been served" + (since if self.live.heads else "")
            raise PlatformError(why, where=self.target.key)
        frame: pd.DataFrame = served.to_pandas()
        return frame

    @cached_property
    def earlier(self) -> pd.DataFrame | None:
        """As many partitions right before the window as served, but for those that are or were held."""
        first = min(self.window_keys, default=self.live.partition)
        held = ever_held(self.platform, self.target, self.live.as_of)
        keys = [k for k in self.live.heads if k < first and k not in held]
        keys = [k for k in keys[-self.settings.covariate_partitions :] if self._told(k)]
        served = self.live.served(keys)
        if served is None:
            return None
        frame: pd.DataFrame = served.to_pandas()
        return frame

    @cached_property
    def rebuilt(self) -> pd.DataFrame:
        """The same rows' features, rebuilt by the training code from what was known at their cutoffs."""
        tables = self.given
        if tables is None or not set(self.window_keys) <= set(tables):
            tables = views.compute(
                self.platform, self.target.use_case, "features", self.window_keys, self.live.as_of
            )
        tables = {k: tables[k] for k in self.window_keys}
        frame: pd.DataFrame = pa.concat_tables(tables.values()).to_pandas()
        return frame

    @cached_property
    def label_keys(self) -> list[str]:
        """Partitions whose labels are looked at: aged ones for the law, and all that the champion scored."""
        first = self.live.by_champion[0] if self.live.by_champion else None
        return label_keys(self.target, self.live.as_of, first)

    @cached_property
    def labels(self) -> pa.Table:
        """Their labels as known now.

        Raises:
            PlatformError: No partition has begun.
        """
        found = self.live.labels(self.label_keys)
        if found is None:
            raise PlatformError("no partition has begun yet", where=self.target.key)
        return found

    @cached_property
    def arrival(self) -> LabelMaturity:
        """How labels arrive."""
        return maturity_of(self.target, self.labels, self.live.as_of)

    @cached_property
    def judged(self) -> pd.DataFrame:
        """Matured rows that the champion scored, with their labels."""
        keys = [k for k in self.live.matured if k in self.mature_names]
        rows = self.live.judged(keys, self.labels) if keys else None
        if rows is None or not rows.num_rows:
            raise PlatformError("no matured partition was scored by the champion yet", where=self.target.key)
        frame: pd.DataFrame = rows.to_pandas()
        return frame

    @cached_property
    def mature_names(self) -> set[str]:
        """Partitions whose labels are mature."""
        return set(self.arrival.named("mature"))

    @cached_property
    def concept_keys(self) -> list[str]:
        """The window of P(y|x): the last matured partitions, growing from the onset of an open incident."""
        try:
            keys = sorted(set(self.judged["partition_key"]))
        except PlatformError:
            return []
        size = self.settings.concept_partitions
        if self.incident is not None and self.incident.family == "model":
            since = [k for k in keys if k >= self.incident.first_partition]
            size = min(max(size + len(since), size), self.settings.maximum_partitions)
        return keys[-size:]

    @cached_property
    def current(self) -> pd.DataFrame:
        """Matured rows of the window of P(y|x)."""
        rows = self.judged
        return rows[rows["partition_key"].isin(self.concept_keys)]

    @property
    def segments(self) -> list[str]:
        """Columns whose values are segments."""
        return list(self.settings.segments) or [s.column for s in self.model.gates.slices]

    @property
    def categorical_segments(self) -> list[str]:
        """Those of them that are categories."""
        return [s for s in self.segments if s in self.model.categorical]
