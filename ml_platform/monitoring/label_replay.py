"""Labels as they are in force against labels rebuilt from the raw outcomes with the model's label code.

A changed definition of the label looks like a prior shift to every statistic. Rebuilding tells them
apart: the outcomes are the same, only what is made of them differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ml_platform.guard_config import DiagnosisConfig
from ml_platform.kinds.base import Kind
from ml_platform.numbers import number
from ml_platform.statistics.finding import Finding, Findings
from ml_platform.statistics.frames import PARTITION, Table, as_frame, require_unique

QUESTION = "label_definition"
_TOLERANCE = 1e-9
"""Numbers that differ relatively by less are the same: sums may be added in another order."""


def label_replay(
    stored: Table, rebuilt: Table, *, key: Sequence[str], kind: Kind, label: str, settings: DiagnosisConfig
) -> Findings:
    """Do the labels still mean what the model was trained on?

    Args:
        stored: ``partition_key``, the key and the label as published now (null while unknown), one row
            per entity. With a column ``revision`` (1 for the first) the revision rate is given.
        rebuilt: The same columns, the label made by the code that the model was trained with.
        key: Columns that identify a row in a partition.
        kind: Kind of target.
        label: Column of the label.
        settings: ``mismatch_share``: largest share of a partition's labels that may differ.

    Returns:
        One finding ``mismatch``, over rows whose label both sides know; UNKNOWN without such rows.

    Raises:
        IntegrityError: A column is missing, or a key occurs twice.
    """
    on = [PARTITION, *key]
    left, right = as_frame(stored, [*on, label], "labels"), as_frame(rebuilt, [*on, label], "rebuilt labels")
    require_unique(left, on, "labels")
    require_unique(right, on, "rebuilt labels")
    pairs = left[[*on, label]].merge(
        right[[*on, label]], on=on, how="inner", suffixes=("_stored", "_rebuilt")
    )
    now, then = (_codes(pairs[f"{label}_{s}"], kind, label) for s in ("stored", "rebuilt"))
    known = ~np.isnan(now) & ~np.isnan(then)
    if not known.any():
        return Findings.unknown(QUESTION, "no label is known both as published and as rebuilt")
    differs = ~np.isclose(now, then, rtol=_TOLERANCE, atol=0) & known
    codes, keys = pd.factorize(pairs[PARTITION].to_numpy(dtype=object), sort=True)
    rows, wrong = (np.bincount(codes[f], minlength=len(keys)) for f in (known, differs))
    shares = wrong / np.maximum(rows, 1)
    broken = np.flatnonzero(shares > settings.mismatch_share)
    facts: dict[str, Any] = {
        "by_partition": {str(keys[i]): round(float(shares[i]), 4) for i in broken},
        "stored": kind.summary(now[known]),
        "rebuilt": kind.summary(then[known]),
        "became_higher": int((differs & (now > then)).sum()),
        "became_lower": int((differs & (now < then)).sum()),
        "only_stored_known": int((~np.isnan(now) & np.isnan(then)).sum()),
        "only_rebuilt_known": int((np.isnan(now) & ~np.isnan(then)).sum()),
        "revision_rate": _revision_rate(left, label),
    }
    share = float(differs.sum() / known.sum())
    finding = Finding(
        statistic="mismatch",
        subject=label,
        state="FAIL" if broken.size else "PASS",
        detail=f"{int(differs.sum())} of {int(known.sum())} labels differ from those of the training code; "
        f"{_told(facts['stored'])}; rebuilt {_told(facts['rebuilt'])}",
        estimate=share,
        floor=settings.mismatch_share,
        blocks=int((rows > 0).sum()),
        rows=int(known.sum()),
        partitions=tuple(str(keys[i]) for i in broken),
        facts=facts,
    )
    return Findings.of(QUESTION, [finding])


def _codes(values: pd.Series, kind: Kind, label: str) -> npt.NDArray[np.float64]:
    return kind.encode(pa.chunked_array([pa.array(values, from_pandas=True)]), label)


def _told(summary: dict[str, float]) -> str:
    return ", ".join(f"{name} {number(value, 4)}" for name, value in summary.items())


def _revision_rate(stored: pd.DataFrame, label: str) -> float | None:
    """Share of known labels that were revised; None where revisions are not told."""
    if "revision" not in stored.columns:
        return None
    revisions = stored.loc[stored[label].notna(), "revision"]
    return float((revisions > 1).mean()) if len(revisions) else None
