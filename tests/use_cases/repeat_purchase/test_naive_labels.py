"""The benchmark of labels taken too early, on two training weeks."""

from pathlib import Path

import pytest

from benchmarks.naive_labels import Row, as_text, draw, measure
from ml_platform.config import UseCase
from ml_platform.lifecycle.ingesting import ingest
from ml_platform.lifecycle.platform import Outside, Platform, Target

from .conftest import FIRST, monday

WEEK, END = "1997-05-05", "1997-08-04"


@pytest.fixture(scope="module")
def row(use_case: UseCase, tmp_path_factory: pytest.TempPathFactory) -> Row:
    home: Path = tmp_path_factory.mktemp("naive")
    platform = Platform({"ML_PLATFORM_HOME": str(home)}, Outside(use_cases={use_case.name: use_case}))
    ingest(platform, use_case, use_case.scheme.keys(FIRST, END), monday(END))
    model = use_case.config.models[0]
    short = model.model_copy(update={"windows": model.windows.model_copy(update={"train": 2})})
    return measure(platform, Target(use_case, short), WEEK)


def test_who_takes_the_unknown_for_a_no_expects_far_too_little(row: Row) -> None:
    assert row.rows == 23_570 and row.truth == pytest.approx(0.205, abs=0.001)
    assert row.naive.share < 0.06 and row.naive.mean < row.truth / 3
    assert abs(row.patient.mean - row.truth) < 0.06
    assert row.patient.log_loss < row.naive.log_loss - 0.03


def test_it_is_shown_as_a_table_and_as_a_picture(row: Row) -> None:
    lines = as_text([row]).splitlines()
    assert len(lines) == 3 and {line.count("|") for line in lines} == {11}
    assert WEEK in lines[2] and f"{row.naive.mean:.3f}" in lines[2]
    assert draw([row], "title").startswith(b"\x89PNG")
