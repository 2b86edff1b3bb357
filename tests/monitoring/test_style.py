"""Names of partitions on an axis."""

from matplotlib.figure import Figure

from ml_platform.monitoring.style import name_partitions


def named(keys: list[str], most: int) -> list[str]:
    axis = Figure().subplots()
    name_partitions(axis, keys, most)
    return [t.get_text() for t in axis.get_xticklabels()]


def test_hours_name_their_day_where_it_begins_so_that_they_do_not_overlap() -> None:
    keys = [f"2024-04-13T{h:02}" for h in (20, 21, 22, 23)] + [f"2024-04-14T{h:02}" for h in range(4)]
    assert named(keys, 4) == ["20 h\n2024-04-13", "22 h\n", "00 h\n2024-04-14", "02 h\n"]


def test_days_are_named_at_most_so_many_times() -> None:
    keys = [f"2024-04-{d:02}" for d in range(1, 26)]
    assert named(keys, 12) == keys[::3] and named(keys[:3], 12) == keys[:3]
