"""The demo's summary: what happened, stage by stage, read back from ledger and stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape

from ml_platform.cli.champions import gates_table
from ml_platform.cli.shared import console, table
from ml_platform.config import UseCase
from ml_platform.datasets.versions import versions
from ml_platform.errors import PlatformError
from ml_platform.lifecycle import pointers
from ml_platform.lifecycle.agenda import predictions_asset
from ml_platform.lifecycle.awaiting import Waiting, takes_over, waiting
from ml_platform.lifecycle.caching import committed_generation
from ml_platform.lifecycle.guard.asked import newest_verdict
from ml_platform.lifecycle.held import held_feed
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.lifecycle.reading import client
from ml_platform.lifecycle.recorded import acceptance_totals, results
from ml_platform.modeling.gate_names import gate_title
from ml_platform.registry import promotions
from ml_platform.serving.answers import sentence
from ml_platform.storage.tables import Evaluation, Promotion

_STAGES = (
    ("landing", ("landed",)),
    ("contracts", ("accept", "fresh")),
    ("features and labels (dbt)", ("views",)),
    ("dataset version", ("training_dataset",)),
    ("training", ("candidate_model",)),
    ("evaluation", ("evaluation",)),
    ("promotion", ("champion_model",)),
    ("predictions and export", ("predictions", "export")),
    ("serving cache", ("serving_cache",)),
    ("monitoring", ("label_maturity", "live_performance", "drift")),
    ("diagnosis and verdict", ("skew", "diagnosis", "retraining_verdict")),
)


def print_summary(
    stores: Platform, use_case: UseCase, models: Sequence[str], played: Sequence[Any], seconds: float
) -> bool:
    """Print what playing some models of a use case did, and how the others are played.

    Returns:
        Whether each of them has a champion; without one nothing was served, and there is no verdict.
    """
    console.print()
    _feeds(stores, use_case)
    for name in models:
        target = Target(use_case, use_case.model(name))
        _model(stores, target)
        _serving(stores, target)
        _monitoring(stores, target)
    for other in (m.name for m in use_case.config.models if m.name not in models):
        console.print(
            f"Not played: {use_case.name}/{other}; `ml-platform run {use_case.name} --models {other}` does",
            highlight=False,
        )
    _times(played, seconds)
    return all(promotions.champion(stores.ledger, f"{use_case.name}/{m}") for m in models)


def _feeds(stores: Platform, use_case: UseCase) -> None:
    rows = []
    for feed in use_case.config.feeds:
        t = acceptance_totals(stores, feed.name)
        names = ("partitions", "landed", "accepted", "quarantined", "held")
        rows.append((feed.name, *(f"{t[n]:,}" for n in names)))
    columns = ("feed", "partitions", "landed", "accepted", "quarantined", "held back")
    console.print(table("Feeds: landed = accepted + quarantined + held back", columns, rows))
    for feed in use_case.config.feeds:
        if held := held_feed(stores, feed.name):
            console.print(
                f"[yellow]held back[/]: {escape(held.sentence())}.\n"
                f"{escape(held.next_steps(use_case))}\n"
                f"  - a line for each: `ml-platform quarantine list --feed {feed.name} --all`",
                highlight=False,
            )
    views = [stores.ledger.heads(f"{use_case.name}/{v}") for v in ("features", "labels")]
    facts = [
        f"{len(h)} {n} partitions ({sum(p.rows for p in h.values()):,} rows)"
        for n, h in zip(("feature", "label"), views, strict=True)
    ]
    console.print("Built: " + ", ".join(facts), highlight=False)


def _model(stores: Platform, target: Target) -> None:
    datasets = versions(stores.ledger, target.key)
    if datasets:
        d = datasets[0]
        train, gate = d.details["train"], d.details["gate"]
        console.print(
            f"Dataset version [bold]{d.version}[/]: {d.rows:,} rows, trained on {train['first']} to "
            f"{train['last']}, gated on {gate['first']} to {gate['last']}",
            highlight=False,
        )
    trained = pointers.current(stores, target, "candidate_model")
    if constant := trained.details.get("constant") if trained else None:
        console.print(
            f"[yellow]note[/]: {', '.join(constant)} had one value in all rows that trained the last "
            "candidate, so that nothing was learned from it",
            highlight=False,
        )
    champion = promotions.champion(stores.ledger, target.key)
    waits = waiting(stores, target)
    judged = promotions.latest_evaluation(stores.ledger, target.key)
    whose, before = f"the last candidate of {target.key}", champion.evaluation_id if champion else None
    refused = judged if judged is not None and not judged.passed and judged.id > (before or 0) else None
    if waits is not None:
        whose, judged = f"version {waits.version} of {target.key}, which waits", waits.evaluation
    elif champion is not None and before and refused is None:
        whose = f"version {champion.version} of {target.key}"
        judged = promotions.evaluation(stores.ledger, before)
    if judged is not None:
        console.print(gates_table(whose, judged.gates))
    if champion is not None and refused is not None:
        _refused(target, refused)
    if champion is None and waits is None:
        _no_champion(stores, target, judged)
    if champion is not None:
        _champion(champion)
    if waits is not None:
        _waits(target, waits)


def _champion(champion: Promotion) -> None:
    console.print(
        f"Champion [bold]version {champion.version}[/] ({champion.action}, {champion.who}), "
        f"model {champion.model_digest[:12]}, as of {champion.as_of:%Y-%m-%d %H:%M} UTC",
        highlight=False,
    )


def _refused(target: Target, judged: Evaluation) -> None:
    """A candidate that does not follow the champion."""
    failed = ", ".join(gate_title(g["name"]) for g in judged.gates if g["state"] != "PASS")
    day = target.use_case.scheme.local_day(judged.as_of)
    console.print(
        f"[yellow]refused[/]: the candidate of {day} ({judged.model_digest[:12]}) does not pass {failed}; "
        "the champion serves on",
        highlight=False,
    )


def _waits(target: Target, waits: Waiting) -> None:
    """What a person is to decide; until then nothing of it is served."""
    since = target.use_case.scheme.local_day(waits.evaluation.as_of)
    console.print(f"[yellow]waits[/]: {waits.sentence(since)}", highlight=False)
    for command in waits.commands:
        console.print(f"  {command}", highlight=False)
    console.print(
        f"  `ml-platform champion history {target.key}` shows its gates; after an approval "
        f"`ml-platform run {target.use_case.name}` goes on",
        highlight=False,
    )


def _no_champion(stores: Platform, target: Target, judged: Evaluation | None) -> None:
    """Why nothing serves, and what can be done: a gate that did not pass is never relaxed."""
    failed = [f"{g['name']} {g['state']}" for g in (judged.gates if judged else []) if g["state"] != "PASS"]
    word = promotions.approval_of(stores.ledger, judged.id) if judged else None
    if word is not None and not failed:
        failed = [f"{word.who} {word.decision} the candidate"]
    settings = target.use_case.folder / "use_case.yaml"
    console.print(
        f"[yellow]No champion[/]: {', '.join(failed) or 'nothing was judged'}. A gate that is not passed is "
        "never relaxed, so nothing was scored, and there is no verdict.\n"
        f"  fix:   change what is learned (features, training, windows) in {escape(str(settings))} and run "
        "again; where too few blocks could tell, give more history",
        highlight=False,
    )


def _serving(stores: Platform, target: Target) -> None:
    heads = stores.ledger.heads(predictions_asset(target))
    row = committed_generation(stores, target.key)
    if not heads or row is None:
        return
    console.print(
        f"Predictions: {sum(h.rows for h in heads.values()):,} over {len(heads)} partitions, "
        f"{min(heads)} to {max(heads)}",
        highlight=False,
    )
    held = sum(s["rows"] for s in row.segments)
    console.print(
        f"Serving cache: generation [bold]{row.id}[/], {len(row.segments)} partitions, {held:,} predictions, "
        f"serves {row.served_partition}",
        highlight=False,
    )
    key = _sample_key(stores, target, heads[row.served_partition].digest)
    now = stores.clock(target.use_case).now()
    try:
        found = client(stores).get(target.key, key)
    except PlatformError as error:
        console.print(f"  [red]{error}[/]")
        return
    console.print(f"  read back: {sentence(found, now)}", highlight=False)
    champion = promotions.champion(stores.ledger, target.key)
    if champion is not None and champion.version != found.record.model_version:
        console.print(f"  {takes_over(stores, target, champion)}", highlight=False)


def _sample_key(stores: Platform, target: Target, digest: str) -> str:
    from ml_platform.storage.parquet import read_table

    # The largest number, the likeliest positive or last class, says more to a reader than the first row.
    score = target.kind.names()[-1]
    table_ = read_table(stores.lake.get(digest), ["entity_key", score])
    order = table_.sort_by([(score, "descending"), ("entity_key", "ascending")])
    return str(order["entity_key"][0].as_py())


def _monitoring(stores: Platform, target: Target) -> None:
    rows = []
    for monitor in ("label_maturity", "live_performance", "drift"):
        seen = results(stores, target, monitor)
        if seen:
            last = seen[-1]
            rows.append(
                (
                    monitor,
                    last.state,
                    target.use_case.scheme.local_day(last.as_of),
                    _told(monitor, last.summary),
                )
            )
    if rows:
        console.print(table(f"Monitors of {target.key}", ("monitor", "state", "as of", "what"), rows))
    verdict = newest_verdict(stores, target)
    if verdict is not None:
        console.print(
            f"Verdict of {verdict.partition}: [bold]{verdict.verdict}[/]  {escape(verdict.sentence)}",
            highlight=False,
        )


def _told(monitor: str, summary: dict[str, Any]) -> str:
    if monitor == "label_maturity":
        young, weighted = len(summary["immature"]), len(summary["weighted"])
        return f"mature up to {summary['last_mature']}, {young} partitions immature ({weighted} weighted)"
    if monitor == "drift":
        alarms = summary["alarms"]
        return (
            f"alarms: {', '.join(alarms)}" if alarms else f"no alarm over {len(summary['columns'])} columns"
        )
    metrics = summary["metrics"]
    told = [f"{summary['matured_partitions']} matured partitions, {summary['rows']:,} rows"]
    told += [
        f"{n} {metrics[n]['value']:.4f}"
        for n in (summary["loss"], summary["quality"], *(m for m in metrics if m.startswith("bias")))
        if metrics[n]["value"] is not None
    ]
    before = metrics[summary["loss"]]["reference"]
    if before is not None:
        told.append(f"gate's {summary['loss'].replace('_', ' ')} {before:.4f}")
    return ", ".join(told)


def _times(played: Sequence[Any], seconds: float) -> None:
    steps: dict[str, float] = {}
    for each in played:
        for step, took in each.seconds.items():
            steps[step] = steps.get(step, 0.0) + took
    rows = []
    for stage, endings in _STAGES:
        took = sum(
            s
            for step, s in steps.items()
            if step.split("__")[-1].removesuffix("_fresh") in endings
            or any(step.endswith(e) for e in endings)
        )
        rows.append((stage, f"{took:.1f} s"))
    console.print(table(f"Time per stage ({seconds:.0f} s in all)", ("stage", "time"), rows))


def print_next(stores: Platform, played: Mapping[str, Sequence[str]], seconds: float) -> None:
    """Print what to do after models of some use cases were played."""
    console.print(f"\n[bold]{len(played)} use case(s) in {seconds:.0f} s. Next[/]", highlight=False)
    keys = [f"{name}/{models[0]}" for name, models in played.items()]
    per_model = [
        command
        for key in keys
        if promotions.champion(stores.ledger, key) is not None
        for command in (
            (f"ml-platform verdict show {key}", "what is wrong with the model, and how sure that is"),
            (f"ml-platform retrain {key} --explain", "every guard on a retraining"),
            (f"ml-platform champion history {key}", "the story of the model"),
        )
    ]
    for command, why in (
        ("make dev", "the graph, its checks and plots on http://127.0.0.1:3000"),
        *per_model,
        ("ml-platform quarantine list", "what was not let in, and why"),
        ("ml-platform dataset list", "the versions it was trained on"),
        ("ml-platform pages", "reports, charts and the catalogue on " + stores.pages_url),
        ("ml-platform serve", "predictions over HTTP on 127.0.0.1:8080"),
        ("make clean-demo", "start afresh: lake, ledger, cache and runs of all use cases are deleted"),
    ):
        console.print(f"  {command:58} {why}", highlight=False)
    console.print(f"  (ml-platform is .venv/bin/ml-platform; state lies in {stores.home})", highlight=False)
