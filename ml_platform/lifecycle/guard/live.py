"""What the champion has served and what is known about it by now: the rows that diagnosis judges."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.errors import PlatformError
from ml_platform.lifecycle import views
from ml_platform.lifecycle.agenda import predictions_asset
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.timing import is_current
from ml_platform.storage.recent import RecentTables
from ml_platform.storage.tables import Promotion, Publication

_PREDICTIONS = RecentTables(256 << 20)
"""Each day looks at all days of the champion again."""


@dataclass
class Live:
    """One model's served partitions as of an instant.

    Attributes:
        platform: The stores.
        target: The model.
        as_of: The present of the timeline; nothing later is looked at.
        promotion: The champion in force then.
    """

    platform: Platform
    target: Target
    as_of: datetime
    promotion: Promotion

    @property
    def partition(self) -> str:
        """The partition of the present: the day of the diagnosis."""
        return self.target.use_case.scheme.key_at(self.as_of)

    @property
    def last_mature(self) -> str:
        """The last partition whose labels should all be known."""
        return self.target.use_case.last_mature(self.target.model, self.as_of)

    @cached_property
    def heads(self) -> dict[str, Publication]:
        """Published predictions of partitions that were scored up to now, by partition."""
        found = self.platform.ledger.heads(predictions_asset(self.target))
        return {k: h for k, h in found.items() if self.target.use_case.cutoff(k) <= self.as_of}

    @cached_property
    def by_champion(self) -> list[str]:
        """Partitions scored by the champion in force, in order."""
        return [k for k, h in self.heads.items() if h.details["model_digest"] == self.promotion.model_digest]

    def served_as_now(self, key: str) -> bool:
        """Whether a partition was served under the cutoff and known_at of today's settings."""
        return is_current(self.target.use_case, key, self.heads[key].details)

    def served_with(self, key: str, columns: Collection[str]) -> bool:
        """Whether a partition was served with these features; a model of earlier settings may lack some.

        Of one that cannot be read it is said where its rows are asked for.
        """
        try:
            table = _PREDICTIONS.table(self.platform.lake, self.heads[key].digest)
        except PlatformError:
            return True
        return set(columns) <= set(table.column_names)

    @cached_property
    def matured(self) -> list[str]:
        """Of those, the ones that are old enough to be judged."""
        return [k for k in self.by_champion if k <= self.last_mature]

    def served(self, keys: Sequence[str]) -> pa.Table | None:
        """Predictions with features as served; None where there are none."""
        found = [self.heads[k] for k in keys if k in self.heads]
        if not found:
            return None
        self.platform.lake.paths(h.digest for h in found)
        tables = [_PREDICTIONS.table(self.platform.lake, h.digest) for h in found]
        return pa.concat_tables(tables, promote_options="default")

    def labels(self, keys: Sequence[str]) -> pa.Table | None:
        """Labels of partitions as known now, by the current label code; None without partitions."""
        return views.labels_of(self.platform, self.target, keys, self.as_of)

    def judged(self, keys: Sequence[str], labels: pa.Table) -> pa.Table | None:
        """Served rows with the codes of their known labels; None where there are none."""
        served = self.served(keys)
        if served is None:
            return None
        join = ["partition_key", *self.target.use_case.config.views.key]
        column = self.target.model.label.column
        known = labels.filter(pc.is_valid(labels[column])).select([*join, column])
        if column in served.column_names:
            served = served.drop_columns([column])
        rows = served.join(known, keys=join, join_type="inner")
        rows = self.target.kind.encoded(rows, column)
        return rows.sort_by([(c, "ascending") for c in join])
