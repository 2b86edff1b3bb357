"""Names of the gates, known without importing what computes them; a test holds them equal."""

from __future__ import annotations

from ml_platform.config import ModelConfig


def gate_names(model: ModelConfig) -> dict[str, str]:
    """Every gate that a model may meet, with what it asks, in order."""
    gates, percent = model.gates, f"{model.gates.confidence:.0%}"
    names = {
        "auc": f"First champion: AUC of at least {gates.minimum_auc}.",
        "base_rate": "First champion: log loss below that of the training base rate.",
        "bias": f"No {percent} bound by day shows |bias| above {gates.maximum_bias}.",
        "champion": f"Not worse than the champion by {gates.champion_margin} ({percent}, paired by day).",
    }
    if model.training.baseline:
        names["baseline"] = (
            f"Not worse than the baseline by {gates.baseline_margin} ({percent}, paired by day)."
        )
    if gates.slices:
        columns = ", ".join(s.column for s in gates.slices)
        names["slices"] = f"No segment of {columns} is shown to lose more than {gates.slice_margin} (Holm)."
    return names
