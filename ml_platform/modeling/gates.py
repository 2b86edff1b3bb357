"""The gates between an evaluation and a promotion. They fail closed: what cannot be judged is UNKNOWN.

==================  =======================================================================================
``auc``             first champion only: AUC (macro, of several classes) at least ``minimum_auc``
``r2``              first champion of a regression only: R² at least ``minimum_r2``
``base_rate``       first champion only: loss below that of always saying the training mean (of each class)
``bias``            fails where a one-sided bound, by block, shows |bias| above ``maximum_bias``; of
                    several classes the worst one, its level shared by all (Bonferroni)
``baseline``        the upper bound of the block-paired (model - baseline) loss is below ``baseline_margin``
``champion``        the lower bound of the day-paired (champion - model) loss is above ``-champion_margin``
``slices``          fails where a bound of a segment's day-paired (model - reference) loss, corrected by
                    Holm (1979) for all segments, is above ``slice_margin``; the reference is the champion,
                    else the baseline
==================  =======================================================================================

Margins of a regression are in units of the label's variance (losses) and standard deviation (bias) on the
judged rows: a margin of .015 is an R² of .015.

A block is what is independent (``ModelConfig.sample``): a day unless the use case says otherwise. Bounds are
those of :mod:`ml_platform.modeling.day_bounds`. ``baseline`` and ``champion`` have to be shown;
``bias`` and ``slices`` fail only where harm is shown. Where the baseline's point estimate is the better
one, the baseline is judged instead (:func:`assess`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from ml_platform.kinds.base import Kind
from ml_platform.model_config import GateConfig
from ml_platform.modeling.comparison import (
    CannotJudgeError,
    Evidence,
    paired,
    require_days,
    require_same_rows,
    segment_harm,
    whole,
)
from ml_platform.modeling.day_bounds import MINIMUM_DAYS, DayMean, mean_of_days
from ml_platform.modeling.evaluate import Evaluation, Segment
from ml_platform.numbers import number, signed

State: TypeAlias = Literal["PASS", "FAIL", "UNKNOWN"]
Contender: TypeAlias = Literal["candidate", "baseline"]


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate and how it came out.

    Attributes:
        name: Its name.
        state: PASS, FAIL, or UNKNOWN where it could not be judged.
        measured: What was measured; None where nothing could be.
        comparison: How ``measured`` must stand to ``limit``: ``>=``, ``<``, ``>``, ``<=``.
        limit: The limit; None where it could not be computed.
        description: What is measured, or why it is UNKNOWN.
        evidence: The numbers behind it, JSON values only.
    """

    name: str
    state: State
    measured: float | None
    comparison: str
    limit: float | None
    description: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a contender may be promoted.

    Attributes:
        promote: True only where there are gates and each of them passed.
        reasons: Each gate that did not pass, in words.
    """

    promote: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Assessment:
    """The model that was judged, its gates, and what follows.

    Attributes:
        contender: ``baseline`` where its point estimate of the loss is the better one.
        gates: The gates of the contender.
        decision: What follows from them.
    """

    contender: Contender
    gates: tuple[Gate, ...]
    decision: Decision


_QUALITIES = {"auc": "AUC", "r2": "R² against these rows' own mean"}
_Judgement: TypeAlias = Callable[[], Gate]
_COMPARISONS = {
    "auc": ">=",
    "r2": ">=",
    "base_rate": "<",
    "bias": "<=",
    "baseline": "<",
    "champion": ">",
    "slices": "<=",
}


def assess(
    candidate: Evidence,
    settings: GateConfig,
    *,
    kind: Kind,
    baseline: Evidence | None,
    champion: Evidence | None,
    constant: Sequence[float],
) -> Assessment:
    """Choose candidate or baseline by point estimate, judge it, and decide.

    Args:
        candidate: Evaluation of the candidate on the gate's rows.
        settings: Limits.
        kind: Kind of target.
        baseline: Evaluation of the baseline on the same rows; None where the model has no baseline.
        champion: Evaluation of the champion on the same rows; None where there is no champion yet.
        constant: Mean training outcome of each channel.
    """
    contender = choose(candidate, baseline)
    judged = baseline if contender == "baseline" and baseline is not None else candidate
    gates = judge(judged, settings, kind=kind, baseline=baseline, champion=champion, constant=constant)
    return Assessment(contender, tuple(gates), decide(gates))


def choose(candidate: Evidence, baseline: Evidence | None) -> Contender:
    """The baseline where its loss, the day-paired point estimate, is the lower one.

    The candidate where the two cannot be compared: its gates then say why.
    """
    try:
        model, simpler = whole(candidate, "the model"), whole(baseline, "the baseline")
        difference = paired(model, simpler, "the baseline")
    except CannotJudgeError:
        return "candidate"
    return "baseline" if difference.value > 0 else "candidate"


def judge(
    contender: Evidence,
    settings: GateConfig,
    *,
    kind: Kind,
    baseline: Evidence | None,
    champion: Evidence | None,
    constant: Sequence[float],
) -> list[Gate]:
    """All gates that apply; arguments as for :func:`assess`."""
    gates: dict[str, _Judgement] = {"bias": lambda: _bias(whole(contender, "the model"), settings)}
    if champion is None:
        gates[kind.quality] = lambda: _quality(whole(contender, "the model"), settings)
        gates["base_rate"] = lambda: _base_rate(whole(contender, "the model"), constant)
    else:
        gates["champion"] = lambda: _champion(contender, champion, settings)
    if baseline is not None:
        gates["baseline"] = lambda: _baseline(contender, baseline, settings)
    if settings.slices:
        reference = baseline if champion is None else champion
        gates["slices"] = lambda: _slices(contender, reference, settings, constant)
    return [_closed(name, gates[name]) for name in _COMPARISONS if name in gates]


def decide(gates: Sequence[Gate]) -> Decision:
    """Promote only if there are gates and each of them passed."""
    if not gates:
        return Decision(False, ("there is no evaluation",))
    reasons = tuple(f"{g.name}: {g.state}, {in_words(g)}" for g in gates if g.state != "PASS")
    return Decision(not reasons, reasons)


def in_words(gate: Gate) -> str:
    """Measured value, comparison and limit of a gate, or why there is none."""
    if gate.measured is None or gate.limit is None:
        return gate.description
    return (
        f"{number(gate.measured, 4)} must be {gate.comparison} {number(gate.limit, 4)} ({gate.description})"
    )


def as_record(gate: Gate) -> dict[str, Any]:
    """A gate as plain values with its sentence, as the ledger keeps it."""
    return asdict(gate) | {"evidence": dict(gate.evidence), "sentence": f"{gate.state}: {in_words(gate)}"}


def _closed(name: str, judgement: _Judgement) -> Gate:
    """The gate; UNKNOWN where evidence is missing, not a number, or the check crashed."""
    try:
        gate = judgement()
    except CannotJudgeError as error:
        return Gate(name, "UNKNOWN", None, _COMPARISONS[name], None, str(error))
    # Any crash of a check is UNKNOWN, and UNKNOWN never promotes.
    except Exception as error:
        why = f"the check crashed: {type(error).__name__}: {error}"
        return Gate(name, "UNKNOWN", None, _COMPARISONS[name], None, why)
    numbers = [n for n in (gate.measured, gate.limit) if n is not None]
    if not all(math.isfinite(n) for n in numbers):
        return Gate(name, "UNKNOWN", None, gate.comparison, None, "a number is missing or infinite")
    return gate


def _gate(name: str, passed: bool, measured: float, limit: float, description: str, **evidence: Any) -> Gate:
    state: State = "PASS" if passed else "FAIL"
    return Gate(name, state, measured, _COMPARISONS[name], limit, description, evidence)


def _bias(model: Evaluation, settings: GateConfig) -> Gate:
    # Several classes are several chances of a false alarm.
    level = 1 - (1 - settings.confidence) / len(model.channels)
    limit = settings.maximum_bias * model.label_scale
    found = []
    for i, channel in enumerate(model.channels):
        bias = mean_of_days(np.array([d.scores[i] - d.outcomes[i] for d in model.days]))
        require_days(bias)
        low, high = bias.lower(level), bias.upper(level)
        found.append((max(low, -high, 0.0), bias, low, high, channel.name))
    shown, bias, low, high, name = max(found, key=lambda f: (f[0], abs(f[1].value)))
    where = f" of {name}, the largest of {len(found)}" if name else ""
    words = f"|bias| that {100 * level:.3g}% bounds by block show; point estimate "
    words += f"{signed(bias.value, 4)}{where}"
    return _gate(
        "bias", shown <= limit, shown, limit, words, bias=bias.value, low=low, high=high, days=bias.days
    )


def _quality(model: Evaluation, settings: GateConfig) -> Gate:
    name, measured = model.kind.quality, model.quality
    if measured is None:
        raise CannotJudgeError("the gate's rows hold only one class or value")
    least: float = getattr(settings, f"minimum_{name}")
    return _gate(name, measured >= least, measured, least, _QUALITIES[name])


def _base_rate(model: Evaluation, constant: Sequence[float]) -> Gate:
    rows = np.array([d.rows for d in model.days], dtype=np.float64)
    moments = np.average([d.outcomes for d in model.days], axis=0, weights=rows)
    loss = float(model.kind.constant_losses(moments[None, :], constant)[0])
    said = ", ".join(number(c, 4) for c in constant)
    words = f"{_words(model)}, against that of always saying the training mean, {said}"
    return _gate("base_rate", model.loss < loss, model.loss, loss, words, constant=list(constant))


def _baseline(contender: Evidence, baseline: Evidence, settings: GateConfig) -> Gate:
    if contender is baseline:
        limit = settings.baseline_margin * whole(baseline, "the baseline").loss_scale
        return _gate(
            "baseline", limit > 0, 0.0, limit, "the baseline is the better model and is judged itself"
        )
    model = whole(contender, "the model")
    limit = settings.baseline_margin * model.loss_scale
    difference = paired(model, whole(baseline, "the baseline"), "the baseline")
    require_days(difference)
    upper = difference.upper(settings.confidence)
    words = f"{settings.confidence:.0%} upper bound of {_words(model)} over the baseline's, paired by block"
    words += _point(difference, "more" if difference.value > 0 else "less", upper < limit)
    return _gate("baseline", upper < limit, upper, limit, words, **_numbers(difference))


def _champion(contender: Evidence, champion: Evidence, settings: GateConfig) -> Gate:
    model, incumbent = whole(contender, "the model"), whole(champion, "the champion")
    gain = paired(incumbent, model, "the champion")
    require_days(gain)
    lower = gain.lower(settings.confidence)
    limit = -settings.champion_margin * model.loss_scale
    words = (
        f"{settings.confidence:.0%} lower bound of {_words(model)} saved over the champion, paired by block"
    )
    words += _point(gain, "saved" if gain.value > 0 else "lost", lower > limit)
    return _gate("champion", lower > limit, lower, limit, words, **_numbers(gain))


def _point(difference: DayMean, sense: str, passed: bool) -> str:
    """The point estimate of what could not be shown: too few blocks is another matter than being worse."""
    if passed:
        return ""
    spread = f"standard error {number(difference.se, 2)} over {difference.days} blocks"
    return f"; point estimate {number(abs(difference.value), 4)} {sense}, {spread}"


def _slices(
    contender: Evidence, reference: Evidence | None, settings: GateConfig, constant: Sequence[float]
) -> Gate:
    model = whole(contender, "the model")
    other = None if reference is None else whole(reference, "the reference")
    if other is not None:
        require_same_rows(model, other, "the reference")
    found = [
        segment_harm(segment, other, model.kind, constant)
        for segment in model.segments
        if segment.rows >= settings.slice_minimum_rows and len(segment.days) >= MINIMUM_DAYS
    ]
    limit, alpha = settings.slice_margin * model.loss_scale, 1 - settings.confidence
    p_values = holm([harm.p_above(limit) for _, harm in found])
    table = [
        _segment_evidence(segment, harm, p, 1 - alpha / len(found))
        for (segment, harm), p in zip(found, p_values, strict=True)
    ]
    table.sort(key=lambda row: row["p"])
    failed = [f"{row['column']}={row['value']}" for row in table if row["p"] < alpha]
    measured = max((float(row["low"]) for row in table), default=0.0)
    worst = f"; shown harm: {', '.join(failed)}" if failed else ""
    words = f"largest lower bound of a segment's harm, {len(table)} of {len(model.segments)} judged{worst}"
    return Gate(
        "slices",
        "FAIL" if failed else "PASS",
        measured,
        _COMPARISONS["slices"],
        limit,
        words,
        {"segments": table, "failed": failed, "loss": model.kind.loss},
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted by Holm (1979)."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [1.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, p_values[i] * (len(p_values) - rank)))
        adjusted[i] = highest
    return adjusted


def _segment_evidence(segment: Segment, harm: DayMean, p: float, level: float) -> dict[str, Any]:
    return {
        "column": segment.column,
        "value": segment.value,
        "rows": segment.rows,
        "days": harm.days,
        "loss": segment.loss,
        "harm": harm.value,
        "low": harm.lower(level),
        "high": harm.upper(level),
        "p": p,
    }


def _numbers(mean: DayMean) -> dict[str, float | int]:
    return {"difference": mean.value, "standard_error": mean.se, "days": mean.days}


def _words(model: Evaluation) -> str:
    return model.kind.loss_words
