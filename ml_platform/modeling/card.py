"""The model card: one page of Markdown on what a model is for, how good it is, and where it is not.

After Mitchell et al. (2019), "Model cards for model reporting", with every number taken from the evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ml_platform.modeling.evaluate import Channel, Evaluation
from ml_platform.modeling.gate_names import gate_title
from ml_platform.modeling.gates import Assessment, in_words
from ml_platform.modeling.model import Model
from ml_platform.numbers import number

SHOWN_SEGMENTS = 10
_TARGETS = {"binary": "A positive", "regression": "The number", "multiclass": "The classes"}


@dataclass(frozen=True, slots=True)
class CardText:
    """What people wrote about a model, from its settings.

    Attributes:
        title: Title of the model.
        question: The question it answers, when, and for whom.
        label: What a positive, the number or the classes mean.
        owner: Who answers for it.
        features: Description by feature.
    """

    title: str
    question: str
    label: str
    owner: str
    features: Mapping[str, str]


def model_card(
    model: Model,
    digest: str,
    text: CardText,
    evaluation: Evaluation | None,
    assessment: Assessment | None,
) -> str:
    """The card of one model.

    Args:
        model: The model.
        digest: SHA-256 of its bundle.
        text: What people wrote about it.
        evaluation: Of this model on the gate's rows; None where it has not been evaluated.
        assessment: Its gates; None where they have not been judged.
    """
    parts = [
        f"# {text.title}",
        f"**{model.model_key}** · {model.estimator} · `{digest[:12]}` · {text.owner}",
        "## Intended use",
        text.question,
        f"{_TARGETS[model.kind.name]}: {text.label}",
        "## Data",
        _data(model, evaluation),
        "## Performance",
        _performance(model, evaluation),
        "## Gates",
        _gates(assessment),
        "## Slices",
        _slices(evaluation, assessment),
        "## Features",
        _features(model, text.features),
        "## Limits",
        _limits(model, evaluation, assessment),
        "## Versions",
        _versions(model, digest),
    ]
    return "\n\n".join(parts) + "\n"


def _data(model: Model, evaluation: Evaluation | None) -> str:
    made = model.provenance
    first, last = made.partitions
    rows = [("training", first, last, made.partition_count, made.rows, model.constant)]
    if evaluation is not None and evaluation.days:
        days = evaluation.days
        means = tuple(c.mean_outcome for c in evaluation.channels)
        rows.append(
            ("gate", days[0].partition_key, days[-1].partition_key, len(days), evaluation.rows, means)
        )
    shown = "{:.1%}".format if model.kind.bounded else partial(number, digits=4)
    lines = [(w, f, t, str(p), f"{n:,}", *(shown(m) for m in c)) for w, f, t, p, n, c in rows]
    single = "positives" if model.kind.bounded else "mean"
    names = [c or single for c in model.kind.channels]
    return _table(("window", "first", "last", "partitions", "rows", *names), lines)


_METRICS = {"base_rate": "share of positives on the gate's rows"}
"""Numbers whose name is also that of a gate, and what they are called in its place."""


def _performance(model: Model, evaluation: Evaluation | None) -> str:
    if evaluation is None:
        return "Not evaluated yet, so it cannot be promoted."
    rows = [(_METRICS.get(n, n.replace("_", " ")), number(v, 4)) for n, v in evaluation.metrics().items()]
    notes = [_bias(c, evaluation.confidence) for c in evaluation.channels]
    if model.interval is not None:
        notes.append(
            f"{model.interval.share:.0%} of outcomes should lie in the interval that is served with a "
            "prediction (quantiles of cross-fitted residuals, by band of the prediction)."
        )
    return _table(("metric", "value"), rows) + "\n\n" + "\n".join(notes)


def _bias(channel: Channel, confidence: float) -> str:
    bias, of = channel.bias, f" of {channel.name}" if channel.name else ""
    if bias.low is None or bias.high is None:
        return f"{bias.days} partition(s) are too few for bounds of the bias{of}."
    return (
        f"Bias{of} lies between {bias.low:+.4f} and {bias.high:+.4f} (one-sided {confidence:.0%} "
        f"bounds over {bias.days} partitions)."
    )


def _gates(assessment: Assessment | None) -> str:
    if assessment is None:
        return "Not judged yet, so it cannot be promoted."
    verdict = "may be promoted" if assessment.decision.promote else "may not be promoted"
    rows = [(gate_title(g.name), g.state, in_words(g)) for g in assessment.gates]
    judged = f"Judged: the {assessment.contender}. It {verdict}."
    return f"{judged}\n\n" + _table(("gate", "state", "measured"), rows)


def _slices(evaluation: Evaluation | None, assessment: Assessment | None) -> str:
    gates = [] if assessment is None else [g for g in assessment.gates if g.name == "slices"]
    judged = gates[0].evidence.get("segments", []) if gates else []
    if judged:
        ranked = sorted(judged, key=lambda s: -s["harm"])[:SHOWN_SEGMENTS]
        rows = [
            (f"{s['column']} = {s['value']}", f"{s['rows']:,}", f"{s['loss']:.4f}", f"{s['harm']:+.4f}")
            for s in ranked
        ]
        loss = gates[0].evidence["loss"].replace("_", " ")
        table = _table(("slice", "rows", loss, "over the reference"), rows)
        return f"The {len(rows)} with the largest harm of {len(judged)} judged.\n\n{table}"
    if evaluation is None or not evaluation.segments:
        return "None are evaluated."
    largest = sorted(evaluation.segments, key=lambda s: -s.rows)[:SHOWN_SEGMENTS]
    rows = [(f"{s.column} = {s.value}", f"{s.rows:,}", f"{s.loss:.4f}", "") for s in largest]
    return _table(("slice", "rows", evaluation.kind.loss_words, "over the reference"), rows)


def _features(model: Model, descriptions: Mapping[str, str]) -> str:
    ranked = sorted(model.encoder.features, key=lambda f: -model.importance.get(f[0], 0.0))
    rows = [
        (f"`{name}`", kind, f"{model.importance.get(name, 0.0):.1%}", descriptions.get(name, ""))
        for name, kind in ranked
    ]
    return _table(("feature", "kind", "importance", "description"), rows)


def _limits(model: Model, evaluation: Evaluation | None, assessment: Assessment | None) -> str:
    first, last = model.provenance.partitions
    points = [
        f"It knows {first} to {last}; other seasons and new categories are outside its experience.",
        "A category that training lacked counts as unknown.",
        "Importance says what moves the score, not what causes the outcome.",
    ]
    if evaluation is not None:
        points.append(
            f"It was judged on {len(evaluation.days)} partitions: neighbouring ones resemble each other, "
            "so small differences are not seen."
        )
    if assessment is not None:
        points += [f"Not passed: {reason}." for reason in assessment.decision.reasons]
    return "\n".join(f"- {p}" for p in points)


def _versions(model: Model, digest: str) -> str:
    made = model.provenance
    calibration = "no calibrator" if model.calibrator.method == "none" else model.calibrator.method
    rows = [
        ("bundle (SHA-256)", f"`{digest}`"),
        ("dataset version", f"`{made.dataset_version}`"),
        *((f"{name} code", f"`{value}`") for name, value in sorted(made.code_versions.items())),
        ("seed", str(made.seed)),
        ("calibration", calibration),
        ("parameters", ", ".join(f"{k}={v:g}" for k, v in sorted(_numbers(model).items()))),
        *((name, value) for name, value in sorted(made.library_versions.items())),
    ]
    return _table(("what", "version"), rows)


def _numbers(model: Model) -> dict[str, float]:
    return {k: float(v) for k, v in model.parameters.items() if not isinstance(v, str)}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(c) for c in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
