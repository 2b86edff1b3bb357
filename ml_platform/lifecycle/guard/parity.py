"""Batch and serving parity of the last served partitions, for whoever asks for just that."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from ml_platform.errors import NotReadyError
from ml_platform.lifecycle import views
from ml_platform.lifecycle.guard.live import Live
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.reference import with_features_of
from ml_platform.monitoring.skew import SkewReport, serving_skew
from ml_platform.registry import promotions


def parity(platform: Platform, target: Target, as_of: datetime) -> SkewReport:
    """Features as served against the same features rebuilt from what was known at their cutoffs.

    Raises:
        NotReadyError: Nothing has been served, or nothing under today's cutoff and known_at.
    """
    promotion = promotions.require_champion(platform.ledger, target.key, as_of)
    live = Live(platform, target, as_of, promotion)
    keys = [k for k in live.heads if live.served_as_now(k)][-target.model.diagnosis.covariate_partitions :]
    served = live.served(keys)
    if served is None:
        raise NotReadyError(
            "nothing has been served yet under today's cutoff and known_at",
            where=target.key,
            fix="score a partition first",
        )
    rebuilt = views.compute(platform, target.use_case, "features", keys, as_of)
    return serving_skew(
        served.to_pandas(),
        pa.concat_tables(rebuilt.values()).to_pandas(),
        key=target.use_case.config.views.key,
        features=with_features_of(served, target.model).features,
        settings=target.model.diagnosis,
    )
