"""A use case or a feed that is not there: whether it ever was, what is kept of it, which one was meant."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from ml_platform.config import EXAMPLES_VARIABLE, shows_examples
from ml_platform.discovery import absent_folders
from ml_platform.errors import NotFoundError
from ml_platform.storage.tables import COMMITTED, CacheGeneration, Dataset, Delivery, Head, Promotion

if TYPE_CHECKING:
    from ml_platform.lifecycle.platform import Platform


def no_use_case(platform: Platform, name: str) -> NotFoundError:
    """The error of a name that no search path holds."""
    gone = removed(platform).get(name)
    if gone is not None:
        return gone
    known = sorted({*platform.use_cases, *(b.name for b in platform.discovery.broken)})
    close = get_close_matches(name, known, 1, 0.7)
    if Path(name).is_dir():
        what, fix = (
            f"the folder '{name}' holds no use_case.yaml",
            "give the folder of a use case, or its name",
        )
    else:
        what = f"there is no use case '{name}'"
        fix = (
            f"choose one of: {', '.join(known) or 'none found'}; `run` and `use-case check` take a folder too"
        )
    meant = f"did you mean '{close[0]}'? Else " if close else ""
    return NotFoundError(what, where=_searched(), fix=meant + fix)


def no_feed(platform: Platform, name: str) -> NotFoundError:
    """The error of a feed that no use case declares: whether it was ever delivered, and whose it may be."""
    known = sorted({f.name for u in platform.use_cases.values() for f in u.config.feeds})
    with platform.ledger.begin() as session:
        query = select(func.count(Delivery.partition.distinct())).where(Delivery.feed == name)
        delivered = session.scalar(query)
    if not delivered:
        close = get_close_matches(name, known, 1, 0.7)
        meant = f"did you mean '{close[0]}'? Else " if close else ""
        fix = f"{meant}choose one of: {', '.join(known) or 'none found'}"
        return NotFoundError(f"there is no feed '{name}'", fix=fix)
    # Deliveries are of a feed, which several use cases may share: whose it was is not kept.
    gone = ", ".join(f"'{n}'" for n in removed(platform))
    broken = ", ".join(f"'{b.name}'" for b in platform.discovery.broken)
    told = [f"{gone} {'were' if ',' in gone else 'was'} removed"] if gone else []
    told += [f"{broken} cannot be read"] if broken else []
    because = f"use case {'; use case '.join(told)}, and no other" if told else "no use case"
    do = (
        ["put the folder of its use case back, or the folder's path into ML_PLATFORM_USE_CASES"]
        if gone
        else []
    )
    do += ["mend what `ml-platform use-case list` shows as broken"] if broken else []
    do += [] if do else ["declare it again in the `feeds` of its use_case.yaml"]
    return NotFoundError(
        f"feed '{name}' is declared no more: {because} declares it",
        where=_searched(),
        fix=f"{', or '.join(do)}; {delivered} partition(s) of it are kept, nothing was deleted",
    )


def removed(platform: Platform) -> dict[str, NotFoundError]:
    """Use cases of which the ledger holds something and that no search path holds any more, by name."""
    known = {*platform.use_cases, *(b.name for b in platform.discovery.broken)}
    models: dict[str, list[str]] = {}
    for key in _models_in_ledger(platform):
        models.setdefault(key.partition("/")[0], []).append(key)
    return {
        name: NotFoundError(
            f"use case '{name}' was removed: {_kept(platform, keys)} kept",
            where=_searched(),
            fix="put its folder back, or the folder's path into ML_PLATFORM_USE_CASES; nothing of it was "
            "deleted",
        )
        for name, keys in sorted(models.items())
        if name not in known
    }


def lacking_folders() -> str:
    """Which folders of the search path do not exist; empty where all do."""
    absent = absent_folders()
    if not absent:
        return ""
    do = "does" if len(absent) == 1 else "do"
    return f"ML_PLATFORM_USE_CASES names {', '.join(map(str, absent))}, which {do} not exist as a folder"


def _searched() -> str:
    lacking = lacking_folders()
    built_in = "the built-in folder and " if shows_examples() else ""
    hidden = "" if built_in else f" ({EXAMPLES_VARIABLE} leaves the built-in ones out)"
    return f"{built_in}ML_PLATFORM_USE_CASES{hidden}" + (f"; {lacking}" if lacking else "")


def _kept(platform: Platform, models: Sequence[str]) -> str:
    with platform.ledger.begin() as session:
        datasets = select(func.count()).select_from(Dataset)
        versions = session.scalar(datasets.where(Dataset.status == COMMITTED, Dataset.model_key.in_(models)))
        scored = select(func.count()).select_from(Head)
        partitions = session.scalar(scored.where(Head.asset.in_([f"{m}/predictions" for m in models])))
    told = f"{partitions} partition(s) of predictions and {versions} dataset version(s)"
    return f"{told} of {', '.join(models)} are"


def _models_in_ledger(platform: Platform) -> list[str]:
    with platform.ledger.begin() as session:
        found = [
            session.scalars(select(table.model_key).where(table.status == COMMITTED).distinct()).all()
            for table in (CacheGeneration, Promotion, Dataset)
        ]
    return sorted({key for keys in found for key in keys})
