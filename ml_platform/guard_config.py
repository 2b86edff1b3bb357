"""Settings of the diagnosis and of what its verdicts may do. All windows are counted in partitions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ml_platform.strict import Identifier, Misfits, Place, Strict


class DiagnosisConfig(Strict):
    """Windows, floors and levels of the diagnosis; defaults suit daily partitions and short labels."""

    reference_partitions: int = Field(
        default=28,
        ge=2,
        description="Frozen reference: the gate's partitions, topped up to this many; replaced once, by as "
        "many matured live partitions without an incident.",
    )
    covariate_partitions: int = Field(default=7, ge=1, description="Current window of features.")
    concept_partitions: int = Field(
        default=14, ge=2, description="Last matured partitions in which P(y|x) is judged."
    )
    maximum_partitions: int = Field(
        default=42, ge=2, description="Longest window that grows from a suspected onset."
    )
    season_partitions: int | None = Field(
        default=None, ge=1, description="A season comes back after so many partitions; a year when empty."
    )
    block_partitions: int = Field(
        default=1, ge=1, description="Neighbouring partitions that share outcomes and count as one block."
    )
    label_horizon: int = Field(
        default=7, ge=0, description="Partitions after which 95 % of both classes are usually known."
    )
    loss_floor: float = Field(
        default=0.10,
        gt=0,
        description="Least rise of the loss that counts: a share of the reference loss.",
    )
    bias_floor: float = Field(
        default=0.05,
        gt=0,
        description="Least bias of the mean that counts; of a regression in the label's standard deviations.",
    )
    slope_floor: float = Field(
        default=0.3, gt=0, description="Least slope of residuals on the score that counts."
    )
    contrast_floor: float = Field(
        default=0.03,
        gt=0,
        description="Least change of a segment's residual against the rest that counts; of a regression in "
        "standard deviations of the label.",
    )
    harm_alpha: float = Field(
        default=0.05, gt=0, lt=1, description="False alarms of the anytime test of the loss, per model."
    )
    p_value: float = Field(default=0.01, gt=0, lt=1, description="Level of all other tests.")
    false_discovery_rate: float = Field(
        default=0.05, gt=0, lt=1, description="Over all slopes and contrasts (Benjamini-Yekutieli)."
    )
    minimum_rows: int = Field(default=1000, ge=1, description="Fewer matured rows are not judged.")
    minimum_class_rows: int = Field(default=100, ge=1, description="Fewer rows of a class are not judged.")
    segment_minimum_rows: int = Field(default=200, ge=1, description="Smaller segments only report.")
    segments: tuple[Identifier, ...] = Field(
        default=(), description="Features whose values are segments; the gates' slices when empty."
    )
    mismatch_share: float = Field(
        default=0.01, gt=0, description="Share of features or labels that may differ when rebuilt."
    )
    rebuilt_rows: int = Field(default=2000, ge=1, description="Rows of a partition that are rebuilt at most.")
    mature_share: float = Field(default=0.95, gt=0, le=1, description="Share of labels known when mature.")
    weighted_share: float = Field(
        default=0.5, gt=0, le=1, description="Least share known from which weights may stand in for the rest."
    )
    effective_share: float = Field(
        default=0.5, gt=0, le=1, description="Least effective sample of weighted labels, as a share."
    )
    unseen_effective_share: float = Field(
        default=0.2, gt=0, lt=1, description="Effective sample of the density ratio below which X is unseen."
    )
    unseen_share: float = Field(
        default=0.01, gt=0, lt=1, description="Share of rows of new categories that counts as unseen region."
    )
    leakage_auc: float = Field(
        default=0.95, gt=0.5, le=1, description="A single feature that ranks this well knows the label."
    )
    leakage_errors: float = Field(
        default=3.0, gt=0, description="Day-standard-errors between back-test and first live loss that count."
    )
    unknown_partitions: int = Field(
        default=7,
        ge=1,
        description="Partitions in a row on which a question of steps 1 to 5 may be UNKNOWN before a person "
        "is asked.",
    )
    early_positives: bool = Field(
        default=False,
        description="A positive is known at once, a negative only at the label horizon: "
        "young partitions are judged by the arrival of their positives alone.",
    )

    @model_validator(mode="after")
    def _windows_and_shares_fit(self) -> DiagnosisConfig:
        found: list[tuple[str, Place]] = []
        if self.maximum_partitions < self.concept_partitions:
            what = "maximum_partitions is less than concept_partitions: it could never grow"
            found.append((what, ("maximum_partitions",)))
        if self.weighted_share > self.mature_share:
            what = "weighted_share is more than mature_share: no partition could have weights"
            found.append((what, ("weighted_share",)))
        if 2 * self.minimum_class_rows > self.minimum_rows:
            what = "minimum_class_rows of either class are more than minimum_rows"
            found.append((what, ("minimum_class_rows",)))
        if found:
            raise Misfits(found)
        return self


class DecisionValueConfig(Strict):
    """What one decision is worth when it turns out right, and costs when it turns out wrong."""

    right: float = Field(ge=0, description="Worth of a decision that was right.")
    false_alarm: float = Field(ge=0, description="Cost of deciding positive where the outcome is negative.")
    missed: float = Field(ge=0, description="Cost of deciding negative where the outcome is positive.")


class ValueConfig(Strict):
    """What decisions are worth and cost, in one currency."""

    currency: str = Field(default="EUR", description="Unit of all amounts.")
    decisions: DecisionValueConfig | None = Field(
        default=None, description="Worth of right and cost of wrong decisions; without it roi cannot know."
    )
    per_loss_unit: float | None = Field(
        default=None,
        ge=0,
        description="Worth of one unit of loss less on one prediction; of a regression the label's variance. "
        "Without it nobody has said what a better model is worth: a retraining is not weighed against its "
        "cost, and `roi` cannot know.",
    )
    horizon_partitions: int = Field(default=28, ge=1, description="Partitions over which an action works.")
    usual_gain: float = Field(
        default=0.013, ge=0, description="Loss that a renewal saves on average (measured on 17 refits)."
    )
    compute_hour: float = Field(default=1.0, ge=0, description="Price of an hour of computing.")
    review: float = Field(default=10.0, ge=0, description="Cost of a person's review of one action.")
    regression_probability: float = Field(
        default=0.1, ge=0, le=1, description="How often a promoted challenger turns out worse."
    )
    regression_cost: float = Field(default=50.0, ge=0, description="Cost of one that does.")


class RetrainingConfig(Strict):
    """What a verdict may do without a person, and how a challenger is gated."""

    mode: Literal["automatic", "off"] = Field(
        default="automatic", description="'off': verdicts are given and shown, and nothing is started."
    )
    freshness_partitions: int = Field(
        default=42, ge=1, description="Age of a promotion from which it is renewed when all is well."
    )
    freshness_gate: int = Field(default=28, ge=4, description="Later partitions a renewal is judged on.")
    freshness_margin: float = Field(
        default=0.015,
        ge=0,
        description="Loss a renewal may be worse by (one-sided 95 % bound); of a regression "
        "in units of the label's variance, as all margins.",
    )
    incident_gate: int = Field(default=7, ge=4, description="Later partitions a challenger must win.")
    incident_confidence: float = Field(
        default=0.8, gt=0.5, lt=1, description="One-sided level at which it must win."
    )
    onset_weights: tuple[float, ...] = Field(
        default=(1.0, 5.0, 15.0), min_length=1, description="Weights of rows after the onset to choose from."
    )
    onset_minimum: int = Field(default=7, ge=2, description="Least partitions after the onset to train on.")
    deadline_partitions: int = Field(
        default=21, ge=1, description="After the label horizon: when an incident goes to a person."
    )
    segment_harm: float = Field(default=0.02, ge=0, description="Loss a segment may get worse by.")
    cooldown_partitions: int = Field(
        default=7, ge=0, description="Partitions, and newly matured ones, since the last attempt."
    )
    attempt_partitions: int = Field(
        default=14, ge=0, description="Newly matured partitions between two attempts on one incident."
    )
    budget: int = Field(default=3, ge=1, description="Retrainings in the budget's window.")
    budget_partitions: int = Field(default=30, ge=1, description="The budget's window.")
    compute_seconds: float = Field(
        default=3600, gt=0, description="Seconds of training in the budget's window."
    )
    calibration_partitions: int = Field(
        default=28, ge=2, description="Matured partitions a recalibration is fitted on."
    )
    calibration_gate: int = Field(default=7, ge=4, description="Later partitions it must improve.")
    comparison_periods: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(28, 42),
        description="Calendars that `replay` holds the guard against: retrainings every so many partitions.",
    )
    value: ValueConfig = Field(default=ValueConfig(), description="Worth and cost of decisions.")

    @model_validator(mode="after")
    def _renewal_can_be_judged(self) -> RetrainingConfig:
        if self.freshness_partitions < self.freshness_gate:
            what = (
                "freshness_partitions is less than freshness_gate: a renewal could never be judged on days "
                "that came after the promotion"
            )
            raise Misfits([(what, ("freshness_partitions",))])
        return self
