import io
from datetime import UTC, date, datetime, timedelta

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from ml_platform.guard_config import DiagnosisConfig
from ml_platform.kinds.binary import Binary
from ml_platform.model_config import FeatureConfig, MonitoringConfig
from ml_platform.monitoring import chart, marks
from ml_platform.monitoring.daily import DailyDistance, daily_distance
from ml_platform.monitoring.drift import drift
from ml_platform.monitoring.drift_chart import drift_chart
from ml_platform.monitoring.label_maturity import label_maturity
from ml_platform.monitoring.performance import PerformanceReport, live_performance

SETTINGS = MonitoringConfig()
FEATURES = [
    FeatureConfig(name="weight"),
    FeatureConfig(name="depot", kind="categorical"),
    FeatureConfig(name="age", runs_with_time=True),
]
AS_OF = datetime(2024, 5, 1, tzinfo=UTC)
KEYS = [(date(2024, 3, 1) + timedelta(days=d)).isoformat() for d in range(20)]


def parcels(keys: list[str]) -> pd.DataFrame:
    rng = np.random.default_rng(len(keys))
    frames = [
        pd.DataFrame(
            {
                "partition_key": key,
                "parcel": np.arange(80),
                "weight": rng.normal(size=80),
                "age": rng.normal(size=80),
                "depot": rng.choice(["north", "south"], 80),
                "probability": rng.beta(2, 5, 80),
                "label": rng.integers(0, 2, 80).astype(float),
                "event_time": pd.Timestamp(key, tz="UTC"),
                "label_known_at": pd.Timestamp(AS_OF) - pd.Timedelta(hours=1),
            }
        )
        for key in keys
    ]
    return pd.concat(frames, ignore_index=True)


def performance(mature: int) -> PerformanceReport:
    rows, last_aged = parcels(KEYS), ["", *KEYS][mature]
    losses = pd.DataFrame({"partition_key": KEYS, "log_loss": np.linspace(0.6, 0.9, 20)})
    return live_performance(
        rows,
        rows,
        key=["parcel"],
        kind=Binary(),
        maturity=label_maturity(rows, AS_OF, last_aged=last_aged, settings=DiagnosisConfig()),
        as_of=AS_OF,
        reference=losses,
        settings=SETTINGS,
    )


def distance() -> DailyDistance:
    return daily_distance(parcels(KEYS[:10]), parcels(KEYS), FEATURES, ["probability"])


def pixels(png: bytes) -> np.ndarray:
    return matplotlib.image.imread(io.BytesIO(png), format="png")[:, :, :3]


def amber(image: np.ndarray) -> int:
    """Pixels of the shade that marks immature days on white."""
    shade = np.array(matplotlib.colors.to_rgb(chart.AMBER)) * 0.1 + 0.9
    return int((np.abs(image - shade).max(axis=2) < 0.02).sum())


def violet(image: np.ndarray) -> int:
    shade = np.array(matplotlib.colors.to_rgb(chart.VIOLET))
    return int((np.abs(image - shade).max(axis=2) < 0.05).sum())


def test_immature_days_are_shaded_and_mature_ones_are_not() -> None:
    some, none = (
        pixels(chart.model_chart("m", performance(12))),
        pixels(chart.model_chart("m", performance(20))),
    )
    assert amber(some) > 20_000
    assert amber(none) == 0


def test_the_strip_makes_room_for_each_feature_and_promotions_are_marked() -> None:
    bare = pixels(chart.model_chart("parcels/late", performance(12)))
    made = [marks.Promotion("2024-02-01", "v1"), marks.Promotion(KEYS[5], "v2")]
    full = pixels(
        chart.model_chart(
            "parcels/late", performance(12), distance=distance(), story=marks.Story(promotions=made)
        )
    )
    assert full.shape[0] > bare.shape[0]
    assert violet(bare) == 0
    assert violet(full) > 500


def test_the_legend_and_a_promotion_after_the_last_day_stay_in_the_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[Figure] = []
    real = chart.png
    monkeypatch.setattr(chart, "png", lambda figure: drawn.append(figure) or real(figure))
    expected = dict.fromkeys(KEYS, 0.7)
    told = marks.Story(
        promotions=[marks.Promotion("2024-03-21", "v2 promoted")],
        estimated=expected,
        density_weighted=expected,
    )
    chart.model_chart("m", performance(12), distance=distance(), story=told)
    (figure,) = drawn
    panel = figure.axes[0]
    legend = panel.get_legend()
    assert legend is not None and len(legend.get_texts()) >= 6
    name = next(t for t in panel.texts if "v2 promoted" in t.get_text())
    for artist in (legend, name):
        box = artist.get_window_extent()
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1 - 0.7 * figure.dpi, "below title and summary"
    assert name.get_window_extent().x1 <= panel.get_window_extent().x1


def test_names_of_neighbouring_promotions_stand_below_each_other() -> None:
    axis = Figure().subplots()
    marks.draw_promotions(axis, [marks.Promotion(KEYS[i], f"v{i}") for i in (0, 10, 11)], KEYS)
    first, second, third = (mark.xy[1] for mark in axis.texts)
    assert first == second > third


def test_known_events_are_named_at_their_days_and_others_are_left_out() -> None:
    axis = Figure().subplots()
    marks.draw_events(axis, {KEYS[3]: "Stocktaking", KEYS[9]: "Fair", "2024-07-01": "Closed"}, KEYS)
    assert [(mark.get_text(), mark.xy[0]) for mark in axis.texts] == [("Stocktaking", 3), ("Fair", 9)]
    assert [line.get_xdata()[0] for line in axis.lines] == [3, 9]
    bare = pixels(chart.model_chart("m", performance(12)))
    named = pixels(chart.model_chart("m", performance(12), story=marks.Story(events={KEYS[3]: "Fair"})))
    assert (bare != named).any(), "the chart draws them"


@pytest.mark.parametrize("mature", [0, 3])
def test_a_model_with_few_or_no_matured_days_still_has_its_chart(mature: int) -> None:
    assert pixels(chart.model_chart("parcels/late", performance(mature))).std() > 0.01


@pytest.mark.parametrize(("name", "colour"), [("estimated", "VIOLET"), ("density_weighted", "TEAL")])
def test_losses_expected_without_labels_are_lines_of_their_own_broken_where_unknown(
    name: str, colour: str
) -> None:
    shade = np.array(matplotlib.colors.to_rgb(getattr(chart, colour)))

    def coloured(expected: dict[str, float]) -> int:
        image = pixels(chart.model_chart("m", performance(12), story=marks.Story(**{name: expected})))
        return int((np.abs(image - shade).max(axis=2) < 0.05).sum())

    whole = dict.fromkeys(KEYS, 0.7)
    holes = {k: v for k, v in whole.items() if not KEYS[4] < k < KEYS[16]}
    assert coloured(whole) > coloured(holes) > coloured({}) == 0


def test_the_same_data_give_the_same_bytes() -> None:
    report, days = performance(12), distance()
    assert chart.model_chart("m", report, distance=days) == chart.model_chart("m", report, distance=days)


def test_the_drift_chart_shows_every_state() -> None:
    current = parcels(KEYS[10:])
    current["weight"] += 3
    current["probability"] = np.nan
    report = drift(parcels(KEYS[:10]), current, FEATURES, ["probability"], SETTINGS)
    calm = drift(parcels(KEYS[:10]), parcels(KEYS[10:]), FEATURES, ["probability"], SETTINGS)
    red = np.array([0xDC, 0x26, 0x26]) / 255
    count = [
        int((np.abs(pixels(drift_chart("d", r)) - red).max(axis=2) < 0.02).sum()) for r in (report, calm)
    ]
    assert count[0] > 2 * count[1]


def test_large_numbers_are_written_out() -> None:
    assert [chart._short(v) for v in (0.3484, 12.345, 1126.58)] == ["0.348", "12.3", "1,127"]
    assert [chart._short(v, "+") for v in (-43.13, 1290.0)] == ["-43.1", "+1,290"]
