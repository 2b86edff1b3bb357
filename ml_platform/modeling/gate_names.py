"""Names of the gates, known without importing what computes them; a test holds them equal."""

from __future__ import annotations

from ml_platform.kinds.names import NAMES
from ml_platform.model_config import ModelConfig

_QUALITIES = {"auc": "AUC", "r2": "R²"}

TITLES = {"base_rate": "beats_base_rate"}
"""Gates whose name in the ledger is also that of a number, and what people are shown in its place."""


def gate_title(name: str) -> str:
    """What a gate is called before people."""
    return TITLES.get(name, name)


def gate_names(model: ModelConfig) -> dict[str, str]:
    """Every gate that a model may meet, with what it asks, in order."""
    gates, percent, kind = model.gates, f"{model.gates.confidence:.0%}", NAMES[model.kind]
    unit, spread = ("", "") if kind.bounded else (" × the label's variance", " × its standard deviation")
    least: float = getattr(gates, f"minimum_{kind.quality}")
    loss = kind.loss.replace("_", " ")
    names = {
        kind.quality: f"First champion: {_QUALITIES[kind.quality]} of at least {least}.",
        "base_rate": f"First champion: {loss} below that of always saying the training mean.",
        "bias": f"No {percent} bound by day shows |bias| above {gates.maximum_bias}{spread}.",
        "champion": f"Not worse than the champion by {gates.champion_margin}{unit} "
        f"({percent}, paired by day); skipped while there is none.",
    }
    if model.training.baseline:
        names["baseline"] = (
            f"Not worse than the baseline by {gates.baseline_margin}{unit} ({percent}, paired by day)."
        )
    if gates.slices:
        columns = ", ".join(s.column for s in gates.slices)
        names["slices"] = (
            f"No segment of {columns} is shown to lose more than {gates.slice_margin}{unit} (Holm)."
        )
    return names
