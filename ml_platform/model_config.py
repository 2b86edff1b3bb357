"""What is said of one model in ``use_case.yaml``: features, label, windows, training, gates, serving."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

from pydantic import Field, model_validator

from ml_platform.guard_config import DiagnosisConfig, RetrainingConfig
from ml_platform.strict import (
    Day,
    Identifier,
    Misfits,
    Place,
    Strict,
)

KindName: TypeAlias = Literal["binary", "regression", "multiclass"]
EstimatorName: TypeAlias = Literal["lightgbm", "logistic", "ridge"]


class FeatureConfig(Strict):
    """One input of a model, as its column in the features model."""

    name: Identifier = Field(description="Column name.")
    kind: Literal["numeric", "categorical"] = Field(default="numeric", description="How models read it.")
    description: str = Field(default="", description="What it is, for the catalogue.")
    feeds: tuple[Identifier, ...] = Field(default=(), description="Feeds it is made from.")
    runs_with_time: bool = Field(
        default=False, description="Expected to change as time goes by; drift checks leave it out."
    )


class LabelConfig(Strict):
    """What is predicted and how long its truth takes."""

    column: Identifier = Field(default="label", description="Column of the labels model.")
    known_at: Identifier = Field(
        default="label_known_at",
        description="Column of the labels model: the instant from which it is known, null until then.",
    )
    description: str = Field(default="", description="What a positive, the number or the classes mean.")
    classes: tuple[Identifier, ...] = Field(
        default=(),
        description="Multiclass only: the label's values, the usual one first, the others in any order "
        "that suits readers.",
    )
    maturity_partitions: int = Field(
        ge=0, description="Partitions after which every label of a partition is known."
    )


class WindowConfig(Strict):
    """Which partitions train and which gate, counted back from the last mature one."""

    train: int = Field(ge=2, description="Partitions to train on: the last ones before the gate's.")
    since: Day | None = Field(
        default=None,
        description="Train on every partition from this date's on instead: a window that grows. A recurring "
        "season is then not forgotten, at the price of older data.",
    )
    gate: int = Field(ge=2, description="Later partitions to judge on.")
    minimum_train: int = Field(default=14, ge=2, description="Fewest training partitions accepted.")
    embargo: int = Field(
        default=0,
        ge=0,
        description="Partitions left out between training and gate: those whose outcomes overlap the gate's.",
    )


class TuningConfig(Strict):
    """Seeded Optuna search over the training window, folds blocked by time."""

    trials: int = Field(default=0, ge=0, description="Trials; 0 switches tuning off.")
    seconds: float = Field(default=60, gt=0, description="Stops asking for new trials after this long.")


class TrainingConfig(Strict):
    """How a candidate is trained."""

    estimator: EstimatorName = Field(default="lightgbm", description="Kind of model.")
    baseline: EstimatorName | None = Field(
        default="logistic",
        description="Simpler model that the candidate must not be worse than; 'ridge' by default for a "
        "regression.",
    )
    objective: Literal["squared_error", "poisson", "tweedie"] = Field(
        default="squared_error",
        description="What LightGBM fits of a regression: 'poisson' for counts, 'tweedie' for amounts that "
        "are often zero. All expect the mean, so all are judged by the squared error.",
    )
    parameters: dict[str, float | int | str | bool] = Field(
        default={}, description="Estimator parameters that differ from the platform's defaults."
    )
    seed: int = Field(default=7, description="Seed of everything random.")
    folds: int = Field(default=5, ge=2, description="Folds blocked by partition, for calibration.")
    calibration: Literal["auto", "none"] = Field(
        default="auto", description="'auto' keeps a calibrator only where it improves the loss."
    )
    tuning: TuningConfig = Field(default=TuningConfig(), description="Hyperparameter search.")


class SliceConfig(Strict):
    """A column, or bands of a numeric one, whose segments are gated and watched."""

    column: Identifier = Field(description="Feature column.")
    bands: tuple[float, ...] = Field(default=(), description="Inner edges, for a numeric column.")


class GateConfig(Strict):
    """Limits of the gates; see ml_platform.modeling.gates for the methods.

    Losses are log losses in nats; of a regression they are squared errors in units of the label's variance on
    the judged rows, and its bias is in units of the label's standard deviation.
    """

    minimum_auc: float = Field(
        default=0.62, description="First champion only: least AUC; the mean over classes (macro) of several."
    )
    minimum_r2: float = Field(
        default=0.0, description="First champion of a regression only: least R² on the gate's rows."
    )
    maximum_bias: float = Field(
        default=0.05,
        description="Largest |mean(score) - mean(label)| shown, of any class; of a regression in standard "
        "deviations of the label.",
    )
    baseline_margin: float = Field(
        default=0.01, description="Loss the candidate may be worse than the baseline by."
    )
    champion_margin: float = Field(
        default=0.015, description="Loss the candidate may be worse than the champion by."
    )
    slice_margin: float = Field(default=0.02, description="Loss a slice may get worse by.")
    slice_minimum_rows: int = Field(default=200, description="Fewer rows than this are not judged.")
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="Level of one-sided bounds.")
    slices: tuple[SliceConfig, ...] = Field(default=(), description="Segments to gate.")


class DecisionConfig(Strict):
    """How a score becomes words."""

    threshold: float = Field(default=0.5, ge=0, le=1, description="Binary: positive from here on.")
    positive: str = Field(default="yes", description="Binary: said at or above the threshold.")
    negative: str = Field(default="no", description="Binary: said below it.")
    unit: str = Field(default="", description="Regression: unit of the label, for example GBP.")
    bands: tuple[float, ...] = Field(
        default=(), description="Regression: rising edges between the words; a band begins at its edge."
    )
    words: tuple[str, ...] = Field(
        default=(),
        description="Regression: one more than bands, the lowest first. Multiclass: one for each class, in "
        "the order of label.classes. The number, or the class's name, when empty.",
    )

    @model_validator(mode="after")
    def _bands_rise(self) -> DecisionConfig:
        if list(self.bands) != sorted(set(self.bands)):
            raise Misfits([("the edges of 'bands' must rise", ("bands",))])
        return self


class ServingConfig(Strict):
    """What the serving cache keeps."""

    segments: int = Field(default=7, ge=1, description="Partitions that one generation holds.")
    keep_generations: int = Field(default=3, ge=1, description="Generations kept for rollback.")
    decision: DecisionConfig = Field(default=DecisionConfig(), description="Score to words.")


class PromotionConfig(Strict):
    """Who promotes."""

    policy: Literal["automatic", "approval"] = Field(
        default="automatic", description="'approval' waits for a person after the gates passed."
    )


class MonitoringConfig(Strict):
    """Windows and thresholds of the monitors."""

    current_partitions: int = Field(default=7, ge=1, description="Window of feature and score drift.")
    reference_partitions: int = Field(default=28, ge=2, description="Reference window, the gate's days.")
    drift_p_value: float = Field(default=0.01, description="Blocked p-value that alarms, after BY-FDR.")
    drift_effect: float = Field(
        default=0.2, description="Least standardised distance that alarms, whatever the p-value."
    )
    loss_effect: float = Field(
        default=0.10, description="Rise of the loss that alarms, as a share of the reference loss."
    )


class ModelConfig(Strict):
    """One model of a use case."""

    name: Identifier = Field(description="Name; with the use case's it is the model's key.")
    title: str = Field(default="", description="Title for people.")
    kind: KindName = Field(
        default="binary", description="Kind of target: yes or no, a number, or one of several classes."
    )
    label: LabelConfig = Field(description="Its target.")
    features: tuple[FeatureConfig, ...] = Field(min_length=1, description="Its inputs.")
    windows: WindowConfig = Field(description="Training and gate windows.")
    sample: Literal["partition", "entity"] = Field(
        default="partition",
        description="What is independent, in folds and in the bounds of gates: runs of "
        "diagnosis.block_partitions partitions; or entities, where outcomes overlap so long that four such "
        "runs cannot be had. Bounds over entities hold for the gate's own time only.",
    )
    training: TrainingConfig = Field(default=TrainingConfig(), description="Training.")
    gates: GateConfig = Field(default=GateConfig(), description="Gates.")
    promotion: PromotionConfig = Field(default=PromotionConfig(), description="Promotion.")
    serving: ServingConfig = Field(default=ServingConfig(), description="Serving cache.")
    monitoring: MonitoringConfig = Field(default=MonitoringConfig(), description="Monitors.")
    diagnosis: DiagnosisConfig = Field(default=DiagnosisConfig(), description="The diagnosis.")
    retraining: RetrainingConfig = Field(
        default=RetrainingConfig(), description="What verdicts may do, and the gates of challengers."
    )

    @model_validator(mode="after")
    def _renewals_can_mature(self) -> ModelConfig:
        floor = self.diagnosis.label_horizon + self.retraining.freshness_gate
        if self.retraining.freshness_partitions < floor:
            what = (
                f"retraining.freshness_partitions is less than diagnosis.label_horizon + "
                f"retraining.freshness_gate ({floor}): no renewal could be judged on matured days that came "
                "after the promotion"
            )
            raise Misfits([(what, ("retraining", "freshness_partitions"))])
        return self

    @model_validator(mode="before")
    @classmethod
    def _simple_baseline(cls, data: Any) -> Any:
        """A regression's baseline is ridge regression unless another is named."""
        if not isinstance(data, dict) or data.get("kind") != "regression":
            return data
        training = data.get("training", {})
        if not isinstance(training, dict) or "baseline" in training:
            return data
        return {**data, "training": {**training, "baseline": "ridge"}}

    @model_validator(mode="after")
    def _settings_suit_the_kind(self) -> ModelConfig:
        found = [
            (f"model {self.name} is {self.kind}: {problem}", place)
            for suits, problem, place in _unsuited(self)
            if not suits
        ]
        if found:
            raise Misfits(found)
        return self

    @property
    def feature_names(self) -> list[str]:
        """Names of the features, in order."""
        return [f.name for f in self.features]

    @property
    def categorical(self) -> list[str]:
        """Names of the categorical features, in order."""
        return [f.name for f in self.features if f.kind == "categorical"]


def _unsuited(model: ModelConfig) -> Iterable[tuple[bool, str, Place]]:
    """What a kind of target asks of the other settings: whether they suit, what is wrong if not, where."""
    classes, decision, training = model.label.classes, model.serving.decision, model.training
    number, several = model.kind == "regression", model.kind == "multiclass"
    label: Place = ("label", "classes")
    bands, words = (("serving", "decision", key) for key in ("bands", "words"))
    yield not several or len(set(classes)) >= 3, "label.classes needs at least three different names", label
    yield len(set(classes)) == len(classes), "label.classes names one twice", label
    yield several or not classes, "label.classes are for 'multiclass' only", label
    wrong = "logistic" if number else "ridge"
    for key in ("estimator", "baseline"):
        yield getattr(training, key) != wrong, f"'{wrong}' does not fit such a target", ("training", key)
    yield (
        number or training.objective == "squared_error",
        "training.objective is for 'regression' only",
        ("training", "objective"),
    )
    yield number or not decision.bands, "serving.decision.bands are for 'regression' only", bands
    expected = len(classes) if several else len(decision.bands) + 1
    yield (
        not decision.words or ((number or several) and len(decision.words) == expected),
        f"serving.decision.words needs {expected} entries" if number or several else "'words' do not apply",
        words,
    )
    yield not decision.bands or bool(decision.words), "serving.decision.bands need words", bands
    yield (
        not (number or several) or not model.diagnosis.early_positives,
        "early_positives are for 'binary'",
        ("diagnosis", "early_positives"),
    )
