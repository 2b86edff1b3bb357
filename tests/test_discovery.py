"""Use cases are found on search paths, and one that cannot be read stops no other."""

import shutil
from pathlib import Path

import pytest

from ml_platform.config import use_case_files
from ml_platform.discovery import discover
from ml_platform.errors import ConfigError
from ml_platform.lifecycle.platform import Platform


def test_use_cases_are_found_in_folders_and_folders_of_them(
    own_use_case: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (own_use_case, own_use_case.parent):
        monkeypatch.setenv("ML_PLATFORM_USE_CASES", str(folder))
        assert discover().use_cases["library_loans"].folder == own_use_case


def test_an_installation_can_leave_the_built_in_ones_out(
    own_use_case: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A team's graph, jobs and catalogue hold what is theirs."""
    built_in = {p.parent.name for p in use_case_files()} - {"library_loans"}
    assert built_in and built_in < set(discover().use_cases)
    monkeypatch.setenv("ML_PLATFORM_EXAMPLES", "false")
    assert set(discover().use_cases) == {"library_loans"}
    monkeypatch.setenv("ML_PLATFORM_EXAMPLES", "perhaps")
    with pytest.raises(ConfigError, match="'perhaps' does not say") as caught:
        discover()
    assert caught.value.where == "ML_PLATFORM_EXAMPLES" and "true or false" in caught.value.fix


def test_a_folder_that_two_paths_lead_to_is_one_use_case(
    own_use_case: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ML_PLATFORM_USE_CASES", f"{own_use_case}:{own_use_case.parent}")
    found = discover()
    assert "library_loans" in found.use_cases
    assert found.broken == ()


def test_of_two_with_one_name_the_first_stays(own_use_case: Path) -> None:
    shutil.copytree(own_use_case, own_use_case.parent / "twin")
    found = discover()
    assert found.use_cases["library_loans"].folder == own_use_case
    (twin,) = found.broken
    assert twin.name == "twin"
    assert "another use case is named 'library_loans'" in twin.error.what
    assert str(own_use_case) in twin.error.where


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("name: [unclosed", "this is not YAML"),
        (
            "schema_version: 7\nname: tomorrow\nnew_key: 1\n",
            "schema_version 7, and this platform",
        ),
        ("schema_version: 1\nnmae: x\n", "nmae"),
    ],
)
def test_a_broken_one_is_told_and_stops_no_other(own_use_case: Path, text: str, why: str) -> None:
    folder = own_use_case.parent / "broken"
    folder.mkdir()
    (folder / "use_case.yaml").write_text(text)
    found = discover()
    assert "library_loans" in found.use_cases
    (broken,) = found.broken
    assert why in broken.error.what
    platform = Platform()
    assert "library_loans" in platform.use_cases
    with pytest.raises(ConfigError, match="broken"):
        platform.use_case("broken")
