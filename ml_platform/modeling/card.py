"""The model card: one page of Markdown on what a model is for, how good it is, and where it is not.

After Mitchell et al. (2019), "Model cards for model reporting", with every number taken from the evaluation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ml_platform.modeling.evaluate import Evaluation
from ml_platform.modeling.gates import Assessment, in_words
from ml_platform.modeling.model import Model

SHOWN_SEGMENTS = 10


@dataclass(frozen=True, slots=True)
class CardText:
    """What people wrote about a model, from its settings.

    Attributes:
        title: Title of the model.
        question: The question it answers, when, and for whom.
        label: What a positive means.
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
        f"A positive: {text.label}",
        "## Data",
        _data(model, evaluation),
        "## Performance",
        _performance(evaluation),
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
    rows = [
        ("training", made.partitions[0], made.partitions[1], made.partition_count, made.rows, model.base_rate)
    ]
    if evaluation is not None and evaluation.days:
        days = evaluation.days
        last = days[-1].partition_key
        rows.append(("gate", days[0].partition_key, last, len(days), evaluation.rows, evaluation.base_rate))
    lines = [(w, f, t, str(p), f"{n:,}", f"{b:.1%}") for w, f, t, p, n, b in rows]
    return _table(("window", "first", "last", "partitions", "rows", "positives"), lines)


def _performance(evaluation: Evaluation | None) -> str:
    if evaluation is None:
        return "Not evaluated yet, so it cannot be promoted."
    rows = [(name.replace("_", " "), f"{value:.4f}") for name, value in evaluation.metrics().items()]
    bias = evaluation.bias
    note = (
        f"Bias lies between {bias.low:+.4f} and {bias.high:+.4f} (one-sided {evaluation.confidence:.0%} "
        f"bounds over {bias.days} partitions)."
        if bias.low is not None and bias.high is not None
        else f"{bias.days} partition(s) are too few for bounds."
    )
    return _table(("metric", "value"), rows) + f"\n\n{note}"


def _gates(assessment: Assessment | None) -> str:
    if assessment is None:
        return "Not judged yet, so it cannot be promoted."
    verdict = "may be promoted" if assessment.decision.promote else "may not be promoted"
    rows = [(g.name, g.state, in_words(g)) for g in assessment.gates]
    judged = f"Judged: the {assessment.contender}. It {verdict}."
    return f"{judged}\n\n" + _table(("gate", "state", "measured"), rows)


def _slices(evaluation: Evaluation | None, assessment: Assessment | None) -> str:
    gates = [] if assessment is None else [g for g in assessment.gates if g.name == "slices"]
    judged = gates[0].evidence.get("segments", []) if gates else []
    if judged:
        ranked = sorted(judged, key=lambda s: -s["harm"])[:SHOWN_SEGMENTS]
        rows = [
            (f"{s['column']} = {s['value']}", f"{s['rows']:,}", f"{s['log_loss']:.4f}", f"{s['harm']:+.4f}")
            for s in ranked
        ]
        table = _table(("slice", "rows", "log loss", "over the reference"), rows)
        return f"The {len(rows)} with the largest harm of {len(judged)} judged.\n\n{table}"
    if evaluation is None or not evaluation.segments:
        return "None are evaluated."
    largest = sorted(evaluation.segments, key=lambda s: -s.rows)[:SHOWN_SEGMENTS]
    rows = [(f"{s.column} = {s.value}", f"{s.rows:,}", f"{s.log_loss:.4f}", "") for s in largest]
    return _table(("slice", "rows", "log loss", "over the reference"), rows)


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
