"""The catalogue as pages: a static site that needs no server and no network, and Markdown for the UI."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from ml_platform.config import UseCaseConfig
from ml_platform.errors import StoreError
from ml_platform.lifecycle.catalogue import Entry, entries, of_use_case
from ml_platform.lifecycle.platform import Platform

KINDS = ("feed", "column", "feature", "label", "dataset", "model", "predictions")
_TITLES = {"dataset": "Dataset versions", "predictions": "Predictions"}
_TEMPLATE = "catalogue.html.j2"


@dataclass(frozen=True)
class Section:
    """Entries under one heading."""

    title: str
    entries: tuple[Entry, ...]

    @property
    def run(self) -> bool:
        """Whether this installation has any record of one of them."""
        return any(e.run for e in self.entries)


@dataclass(frozen=True)
class Page:
    """One page of the site."""

    file: str
    title: str
    about: tuple[str, ...]
    sections: tuple[Section, ...]

    @property
    def run(self) -> bool:
        """Whether this installation has any record of what it shows."""
        return not self.sections or any(s.run for s in self.sections)

    @property
    def size(self) -> int:
        """How many entries it shows."""
        return sum(len(s.entries) for s in self.sections)


def site(found: Sequence[Entry], use_cases: Iterable[UseCaseConfig], stamp: str = "") -> dict[str, str]:
    """All pages as HTML by file name; each holds its own style, script and search index.

    Args:
        found: The catalogue.
        use_cases: The use cases in it: each has a page.
        stamp: What to say at the foot, for example as of when.
    """
    pages = [
        Page("index.html", "Overview", ("Everything there is: search it, or open a page.",), ()),
        _feeds(found),
        *(_use_case(found, config) for config in use_cases),
    ]
    places = {id(e): f"{p.file}#{anchor(e)}" for p in pages for s in p.sections for e in s.entries}
    linked = _linker({e.name: places[id(e)] for e in found if id(e) in places})
    index = [
        {
            "kind": e.kind,
            "name": e.name,
            "description": e.description,
            "href": places[id(e)],
            "run": e.run,
            "use_case": e.use_cases,
            "classification": _parts(e.classification),
            "owner": [e.owner],
            "text": " ".join([*map(str, e.as_dict().values())]),
        }
        for e in found
        if id(e) in places
    ]
    environment = Environment(
        loader=PackageLoader("ml_platform.lifecycle"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    template = environment.get_template(_TEMPLATE)
    shared = {
        "pages": pages,
        "filters": {
            "use_case": _sorted(u for e in found for u in e.use_cases),
            "kind": KINDS,
            "classification": _sorted(c for e in found for c in _parts(e.classification)),
            "owner": _sorted(e.owner for e in found),
        },
        "index": index,
        "anchor": anchor,
        "linked": linked,
        "stamp": stamp,
    }
    return {page.file: template.render(page=page, **shared) for page in pages}


def _parts(classification: str) -> list[str]:
    return [c for c in classification.split(", ") if c]


def _sorted(values: Iterable[str]) -> list[str]:
    return sorted(set(values))


def catalogue_of(platform: Platform) -> dict[str, str]:
    """The catalogue of an installation as pages, as of where its clocks stand."""
    clocks = {name: platform.timeline(name).now() for name in platform.timelines}
    stamp = ", ".join(f"{now:%Y-%m-%d %H:%M} UTC on {name}" for name, now in clocks.items())
    configs = [u.config for u in platform.use_cases.values()]
    return site(entries(platform), configs, f"As of {stamp}." if stamp else "")


def write_site(pages: Mapping[str, str], folder: Path) -> Path:
    """Write the pages; returns the first one's file.

    Raises:
        StoreError: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pages.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"the catalogue cannot be written: {error.strerror or error}",
            where=str(folder),
            fix="name a folder that you may write to",
        ) from error
    return folder / "index.html"


def markdown(found: Sequence[Entry], config: UseCaseConfig) -> str:
    """One use case's catalogue as a Markdown page."""
    mine = of_use_case(found, config.name)
    unrun = [] if not mine or any(e.run for e in mine) else ["**Not run here**: there is no record of it."]
    parts = [
        f"## {config.title}",
        *unrun,
        config.description,
        f"Owner: {config.owner.team}, {config.owner.email}",
    ]
    for section in _sections(mine, KINDS):
        rows = [
            "| name | what | type | source | owner | classification | made from | usage |",
            "|---|---|---|---|---|---|---|---|",
            *(
                _row(
                    e.name, e.description, e.type, e.source, e.owner, e.classification, _made_from(e), e.usage
                )
                for e in section.entries
            ),
        ]
        parts += [f"### {section.title}", "\n".join(rows)]
    return "\n\n".join(parts)


def anchor(entry: Entry) -> str:
    """An entry's anchor on its page."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", f"{entry.kind}-{entry.name}")


def _made_from(entry: Entry) -> str:
    made = ", ".join(entry.columns) or entry.lineage
    return f"{made}; joined on {', '.join(entry.joined_on)}" if entry.joined_on else made


def _row(*cells: str) -> str:
    return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") or "–" for c in cells) + " |"


def _feeds(found: Sequence[Entry]) -> Page:
    feeds = [e for e in found if e.kind == "feed"]
    columns = [e for e in found if e.kind == "column"]
    sections = [Section(f.name, (f, *(c for c in columns if c.name.startswith(f"{f.name}.")))) for f in feeds]
    return Page("feeds.html", "Feeds", (f"{len(feeds)} feeds, {len(columns)} columns.",), tuple(sections))


def _use_case(found: Sequence[Entry], config: UseCaseConfig) -> Page:
    derived = [k for k in KINDS if k not in ("feed", "column")]
    return Page(
        f"use_case_{config.name}.html",
        config.title,
        (config.description, f"{config.name}, owned by {config.owner.team} ({config.owner.email})."),
        tuple(_sections(of_use_case(found, config.name), derived)),
    )


def _sections(found: Iterable[Entry], kinds: Iterable[str]) -> list[Section]:
    found = list(found)
    made = [
        Section(_TITLES.get(k, f"{k}s".capitalize()), tuple(e for e in found if e.kind == k)) for k in kinds
    ]
    return [s for s in made if s.entries]


def _linker(places: Mapping[str, str]) -> Callable[[str], Markup]:
    """Turns the names of entries in a text into links to them."""
    names = sorted(places, key=len, reverse=True)
    pattern = (
        re.compile(r"(?<![\w./])(" + "|".join(map(re.escape, names)) + r")(?![\w./])") if names else None
    )

    def linked(text: str) -> Markup:
        if pattern is None:
            return escape(text)
        pieces = pattern.split(text)
        return Markup("").join(
            Markup('<a href="{}">{}</a>').format(places[piece], piece) if at % 2 else escape(piece)
            for at, piece in enumerate(pieces)
        )

    return linked
