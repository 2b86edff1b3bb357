"""A pipeline that trains on young partitions as their labels read today, beside one that waits for them.

    .venv/bin/python -m benchmarks.naive_labels <use_case>/<model> 1998-01-05 1998-02-16 [--figure FILE.png]

For each partition named: both pipelines have the same recipe, as many partitions and the same features, and
both stand at that partition's cutoff. The naive one trains on the partitions just before it and takes a label
that is not known yet for a negative. The other trains on the last partitions whose labels are all known. Both
score the partition, and are judged by its labels as they turned out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from ml_platform.config import HOME_VARIABLE
from ml_platform.features.dbt import compiled_views
from ml_platform.lifecycle.ingesting import ingest
from ml_platform.lifecycle.platform import Outside, Platform, Target
from ml_platform.lifecycle.views import compute
from ml_platform.modeling.evaluate import evaluate
from ml_platform.modeling.train import train

END = datetime(9000, 1, 1, tzinfo=UTC)
"""An instant by which all labels that will ever be known are known."""


@dataclass(frozen=True)
class Side:
    """One pipeline at one partition.

    Attributes:
        share: Share of positives among the labels it trained on.
        mean: Its mean score.
        log_loss: Of its scores.
        auc: Of its scores.
    """

    share: float
    mean: float
    log_loss: float
    auc: float


@dataclass(frozen=True)
class Row:
    """Both at one partition, and the truth."""

    partition: str
    rows: int
    truth: float
    naive: Side
    patient: Side


def measure(platform: Platform, target: Target, key: str) -> Row:
    """Both pipelines at one partition's cutoff."""
    use_case, model = target.use_case, target.model
    scheme, now, width = use_case.scheme, use_case.cutoff(key), target.model.windows.train
    young = scheme.keys(scheme.shift(key, -width), scheme.shift(key, -1))
    last = use_case.last_mature(model, now)
    old = scheme.keys(scheme.shift(last, 1 - width), last)
    judged = _labelled(platform, target, [key], END)
    # The same cut for both: rows whose label never became known are nobody's.
    judged = judged.filter(pc.is_valid(judged[model.label.column]))

    def side(keys: Sequence[str], *, filled: bool) -> Side:
        rows = _labelled(platform, target, keys, now)
        index, labels = rows.column_names.index(model.label.column), rows[model.label.column]
        if filled:
            rows = rows.set_column(
                index, model.label.column, pc.fill_null(labels, pa.scalar(0).cast(labels.type))
            )
        fitted = train(
            rows,
            model,
            model_key=target.key,
            dataset_version="benchmark",
            code_versions=compiled_views(use_case).by_name,
            keys=use_case.config.views.key,
        ).model
        scores = fitted.predict(judged)
        found = evaluate(judged, scores, kind=target.kind, label=model.label.column)
        assert found.quality is not None, f"only one class in {key}"
        return Side(fitted.constant[0], found.channels[0].mean_score, found.loss, found.quality)

    naive, patient = side(young, filled=True), side(old, filled=False)
    truth = float(pc.mean(judged[model.label.column].cast("float64")).as_py())
    return Row(key, judged.num_rows, truth, naive, patient)


def _labelled(platform: Platform, target: Target, keys: Sequence[str], as_of: datetime) -> pa.Table:
    """Features with labels as they read at an instant, null where they are not known."""
    use_case, column = target.use_case, target.model.label.column
    key = ["partition_key", *use_case.config.views.key]
    features = pa.concat_tables(compute(platform, use_case, "features", keys, as_of).values())
    labels = pa.concat_tables(compute(platform, use_case, "labels", keys, as_of).values())
    wanted = list(dict.fromkeys([*key, *target.model.feature_names]))
    joined = features.select(wanted).join(labels.select([*key, column]), keys=key, join_type="inner")
    return joined.sort_by([(c, "ascending") for c in key])


def as_text(rows: Sequence[Row]) -> str:
    """A Markdown table."""
    head = (
        "| scored on | positives in truth | naive: positives it trained on | its mean score | log loss | AUC "
        "| waiting: positives it trained on | its mean score | log loss | AUC |"
    )
    lines = [head, "|" + "---|" * 10]
    for r in rows:
        cells = [f"{c:.3f}" for s in (r.naive, r.patient) for c in (s.share, s.mean, s.log_loss, s.auc)]
        lines.append(f"| {r.partition} | {r.truth:.3f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(rows: Sequence[Row], title: str) -> bytes:
    """Mean scores beside the truth, by partition."""
    from matplotlib.figure import Figure

    from ml_platform.monitoring import style
    from ml_platform.pictures import png

    figure = Figure(figsize=(style.WIDTH, 3.6), facecolor=style.PAPER)
    axis = figure.subplots()
    names = [r.partition for r in rows]
    for label, values, colour, marker in (
        ("truth", [r.truth for r in rows], style.INK, "o"),
        ("waits for labels", [r.patient.mean for r in rows], style.BLUE, "s"),
        ("takes unknown for no", [r.naive.mean for r in rows], style.AMBER, "v"),
    ):
        axis.plot(names, values, marker=marker, color=colour, label=label)
    axis.set_ylim(0, None)
    axis.set_title(title, loc="left", size=11, color=style.INK)
    axis.set_ylabel("mean probability", size=style.LABEL, color=style.MUTED)
    axis.legend(frameon=False, fontsize=style.LABEL)
    style.draw_plain(axis)
    return png(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="<use_case>/<model>, a binary one")
    parser.add_argument("partitions", nargs="+", help="partitions to score")
    parser.add_argument("--figure", type=Path, help="where to write a PNG")
    given = parser.parse_args(arguments)
    use_case = Platform({}).use_case(given.model.split("/")[0])
    with tempfile.TemporaryDirectory(prefix="ml-platform-benchmark-") as home:
        platform = Platform({HOME_VARIABLE: home}, Outside(use_cases={use_case.name: use_case}))
        target = platform.target(given.model)
        scheme = use_case.scheme
        last = scheme.shift(max(given.partitions), target.model.label.maturity_partitions)
        ingest(platform, use_case, scheme.keys(scheme.first_key, last), use_case.cutoff(last), static=True)
        rows = [measure(platform, target, key) for key in sorted(given.partitions)]
        platform.ledger.engine.dispose()
    print(as_text(rows))
    if given.figure:
        given.figure.write_bytes(draw(rows, f"{target.key}: what each expects, and what came"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
