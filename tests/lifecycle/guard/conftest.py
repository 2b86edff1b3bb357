"""Homes that the guard's tests share: the library replayed for ten weeks, and the same home after three."""

import json
from dataclasses import astuple
from pathlib import Path

import guarded
import pytest
from homes import made_once
from library import Library, open_library

from ml_platform.lifecycle import promotion
from ml_platform.lifecycle.guard.replaying import replay
from ml_platform.lifecycle.homes import copy_home
from ml_platform.lifecycle.platform import Target


@pytest.fixture(scope="session")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> guarded.Replayed:
    """Ten weeks of the library from an empty installation, all in one process."""
    root = made_once(tmp_path_factory, "replayed", _replay)
    days = [guarded.Played(*day) for day in json.loads((root / "days.json").read_text())]
    return guarded.Replayed(days, root / "home", root / "early")


def _replay(root: Path) -> None:
    library = open_library(root / "home")
    target = guarded.guarded(library)
    days = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(promotion, "check_bundle", lambda *_: None)
        for day in replay(library.platform, target, guarded.FIRST, guarded.LAST, ahead=False):
            days.append(guarded.Played.of(day))
            if day.partition == guarded.SNAPSHOT:
                library.close()
                copy_home(root / "home", root / "early")
    library.close()
    (root / "days.json").write_text(json.dumps([astuple(d) for d in days]))


@pytest.fixture
def lived(replayed: guarded.Replayed, tmp_path: Path) -> Library:
    """A copy of the library after its ten weeks."""
    return guarded.copied(replayed.home, tmp_path)


@pytest.fixture
def early(replayed: guarded.Replayed, tmp_path: Path) -> Library:
    """A copy of the library in its third week: nothing that the champion scored is mature yet."""
    return guarded.copied(replayed.early, tmp_path / "early")


@pytest.fixture
def target(fresh: Library) -> Target:
    """The library's model with settings that fit its few weeks."""
    return guarded.guarded(fresh)
