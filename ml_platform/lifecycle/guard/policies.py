"""What other policies would have made of the same days: never retraining, and retraining by the calendar.

A calendar's fits depend on no decision of the guard, so a replay makes them in the process that has ingested
the days while it still plays them. A fit is found again by what went into it; where that has changed, it is
made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from ml_platform.datasets.versions import labelled_rows
from ml_platform.errors import PlatformError
from ml_platform.features.dbt import compiled_views
from ml_platform.lifecycle import views
from ml_platform.lifecycle.agenda import predictions_asset
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.training import recipe_of
from ml_platform.lifecycle.training_data import ensure_views
from ml_platform.modeling import bundle
from ml_platform.modeling.frames import daily_losses
from ml_platform.modeling.model import Model
from ml_platform.modeling.train import train
from ml_platform.registry import promotions
from ml_platform.storage.parquet import read_table, write_table


@dataclass(frozen=True)
class Policy:
    """How one policy did over the same days.

    Attributes:
        name: ``guarded``, ``never``, ``every 28 days`` ...
        loss: Mean over days.
        trainings: Trainings after the first champion.
        by_day: Log loss by partition.
    """

    name: str
    loss: float
    trainings: int
    by_day: Mapping[str, float]


def policies(
    platform: Platform,
    target: Target,
    as_of: datetime,
    progress: Callable[[str], None] = lambda _: None,
    within: tuple[str, str] | None = None,
) -> list[Policy]:
    """What was served, beside never retraining and retraining by the calendar, on the same matured days.

    Every policy has the same recipe and window. ``never`` keeps the first champion; a calendar policy refits
    to the last mature partition of each day it trains on, the first day included; its periods are a setting.

    Args:
        platform: The stores.
        target: The model.
        as_of: The instant as of which days are mature.
        progress: Told what is being done.
        within: First and last partition to judge and count trainings on; all that were served when left out.
            A calendar begins with the first one served in any case.
    """
    served = platform.ledger.heads(predictions_asset(target))
    last = target.use_case.last_mature(target.model, as_of)
    days = sorted(k for k in served if k <= last)
    begin, final = within or (days[0] if days else "", last)
    days = [d for d in days if d <= final]
    if not days or days[-1] < begin:
        return []
    needed = _needed(target, days[0], days[-1])
    progress(f"building what is missing of {len(needed)} partitions")
    ensure_views(platform, target, needed, as_of)
    examples = _Examples(platform, target, _published(platform, target, needed))
    known = [d for d in days if d in examples.objects]
    truth = {k: examples.rows(k) for k in known if k >= begin}
    if not truth:
        return []
    line = promotions.history(platform.ledger, target.key)
    since, until = target.use_case.cutoff(begin), target.use_case.cutoff(final)
    trainings = sum(p.action == "promotion" and since <= p.as_of <= until for p in line)
    found = [_guarded(platform, target, truth, trainings)]
    first = line[-1]
    model = bundle.from_bytes(platform.lake.get(first.model_digest), first.model_digest)
    found.append(_policy("never", 0, {k: (t, model.predict(t)) for k, t in truth.items()}, target))
    for period in target.model.retraining.comparison_periods:
        progress(f"every {target.use_case.scheme.counted(period)}")
        found.append(_calendar(target, examples, known, truth, period))
    return found


def fit_calendars(platform: Platform, target: Target, days: Sequence[str], as_of: datetime) -> Iterator[str]:
    """Make the calendars' fits before :func:`policies` asks for them; yields each day that has one.

    The ledger is left alone: the objects of features and labels are the same whoever builds them.

    Args:
        platform: The stores.
        target: The model.
        days: All partitions that are going to be served, in order; their feeds have been ingested.
        as_of: The instant as of which the policies are going to be judged.
    """
    truth = [d for d in days if d <= target.use_case.last_mature(target.model, as_of)]
    if not truth:
        return
    examples = _Examples(
        platform, target, _computed(platform, target, _needed(target, truth[0], truth[-1]), as_of)
    )
    known = [d for d in truth if d in examples.objects]
    periods = target.model.retraining.comparison_periods
    for day in sorted({d for period in periods for d in known[::period]}):
        examples.fitted(day)
        yield day


def _needed(target: Target, first: str, last: str) -> list[str]:
    """Partitions to judge on, and those before them that the first day's fit trains on."""
    use_case = target.use_case
    mature = use_case.last_mature(target.model, use_case.cutoff(first))
    return use_case.scheme.keys(use_case.trained_on(target.model, mature)[0], last)


Objects = tuple[str, str]
"""Digests of a partition's features and of its labels."""


def _published(platform: Platform, target: Target, keys: Sequence[str]) -> dict[str, Objects]:
    names = (f"{target.use_case.name}/{view}" for view in ("features", "labels"))
    return _paired(keys, *map(platform.ledger.digests, names))


def _computed(platform: Platform, target: Target, keys: Sequence[str], as_of: datetime) -> dict[str, Objects]:
    def put(view: views.ViewName) -> dict[str, str]:
        tables = views.compute(platform, target.use_case, view, keys, as_of)
        filled = {k: write_table(t) for k, t in tables.items() if t.num_rows}
        return dict(zip(filled, platform.lake.put_many(filled.values()), strict=True))

    return _paired(keys, put("features"), put("labels"))


def _paired(
    keys: Sequence[str], features: Mapping[str, str], labels: Mapping[str, str]
) -> dict[str, Objects]:
    return {k: (features[k], labels[k]) for k in keys if k in features and k in labels}


@dataclass
class _Examples:
    """Labelled rows by partition, read when they are asked for, and the recipe fitted to windows of them."""

    platform: Platform
    target: Target
    objects: Mapping[str, Objects]
    _rows: dict[str, pa.Table] = field(default_factory=dict)
    _models: dict[str, Model] = field(default_factory=dict)

    def rows(self, key: str) -> pa.Table:
        """The labelled rows of a partition."""
        if key not in self._rows:
            features, labels = (read_table(self.platform.lake.get(d)) for d in self.objects[key])
            label = self.target.model.label.column
            self._rows[key] = labelled_rows(features, labels, self.target.use_case.config.views.key, label)
        return self._rows[key]

    def fitted(self, day: str) -> Model:
        """The recipe on the window up to the last partition that is mature at a day's cutoff.

        Calendars meet on some days, the first one among them.
        """
        if day not in self._models:
            use_case = self.target.use_case
            last = use_case.last_mature(self.target.model, use_case.cutoff(day))
            keys = [k for k in use_case.trained_on(self.target.model, last) if k in self.objects]
            self._models[day] = self._found_or_fitted(keys)
        return self._models[day]

    def _found_or_fitted(self, keys: Sequence[str]) -> Model:
        code = compiled_views(self.target.use_case).by_name
        inputs = json.dumps([[k, *self.objects[k]] for k in keys] + [sorted(code.items())])
        window = hashlib.sha256(inputs.encode()).hexdigest()
        pointer = self.platform.home / "fits" / recipe_of(self.target, window)
        found = self._found(pointer)
        if found is not None:
            return found
        model = train(
            pa.concat_tables([self.rows(k) for k in keys]),
            self.target.model,
            model_key=self.target.key,
            dataset_version=window,
            code_versions=code,
            keys=self.target.use_case.config.views.key,
        ).model
        self._keep(pointer, model)
        return model

    def _found(self, pointer: Path) -> Model | None:
        """A fit that was kept; None where there is none, or it cannot be read."""
        try:
            digest = pointer.read_text(encoding="utf-8")
            return bundle.from_bytes(self.platform.lake.get(digest), digest)
        except (OSError, PlatformError):
            return None

    def _keep(self, pointer: Path, model: Model) -> None:
        pointer.parent.mkdir(parents=True, exist_ok=True)
        written = pointer.with_suffix(f".{os.getpid()}")
        written.write_text(self.platform.lake.put(bundle.to_bytes(model)), encoding="utf-8")
        written.replace(pointer)


def _guarded(platform: Platform, target: Target, truth: Mapping[str, pa.Table], trainings: int) -> Policy:
    scored = {}
    key = ["partition_key", *target.use_case.config.views.key]
    heads = platform.ledger.heads(predictions_asset(target), truth)
    for name, rows in truth.items():
        served = read_table(platform.lake.get(heads[name].digest))
        served = served.select(list(dict.fromkeys([*key, *target.kind.names()])))
        joined = rows.join(served, keys=key, join_type="inner").combine_chunks()
        scored[name] = (joined, target.kind.scores(joined))
    return _policy("guarded", trainings, scored, target)


def _calendar(
    target: Target, examples: _Examples, days: Sequence[str], truth: Mapping[str, pa.Table], period: int
) -> Policy:
    scored, trainings = {}, 0
    for start in range(0, len(days), period):
        judged = [d for d in days[start : start + period] if d in truth]
        if not judged:
            continue
        model = examples.fitted(days[start])
        trainings += start > 0 and days[start] in truth
        for day in judged:
            scored[day] = (truth[day], model.predict(truth[day]))
    return _policy(f"every {target.use_case.scheme.counted(period)}", trainings, scored, target)


def _policy(
    name: str, trainings: int, scored: Mapping[str, tuple[pa.Table, np.ndarray]], target: Target
) -> Policy:
    by_day: dict[str, float] = {}
    for rows, scores in scored.values():
        codes = target.kind.labels(rows, target.model.label.column)
        by_day |= daily_losses(target.kind, rows["partition_key"].to_numpy(), codes, scores)
    return Policy(name, float(np.mean(list(by_day.values()))), trainings, by_day)
