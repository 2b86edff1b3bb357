"""The catalogue's pages: complete, linked, escaped, and in need of nothing from elsewhere."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from library import MODEL, NAME, Library

from ml_platform.errors import StoreError
from ml_platform.lifecycle.catalogue import Entry, entries
from ml_platform.lifecycle.catalogue_pages import KINDS, markdown, site, write_site


class Seen(HTMLParser):
    """Addresses and anchors of a page, and the text of its search index."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: list[str] = []
        self.loaded: list[str] = []
        self.index = ""
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {k: v or "" for k, v in attrs}
        self.links += [found["href"]] if tag == "a" else []
        self.anchors += [found["id"]] if tag == "tr" and "id" in found else []
        self.loaded += [found["src"]] if "src" in found else []
        self.loaded += [found["href"]] if tag == "link" else []
        self._inside = found.get("id") == "entries"

    def handle_data(self, data: str) -> None:
        self.index += data if self._inside else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = False


def pages(library: Library, found: list[Entry] | None = None) -> dict[str, str]:
    chosen = entries(library.platform) if found is None else found
    return site(chosen, [u.config for u in library.platform.use_cases.values()], stamp="As of then.")


def test_every_entry_has_its_place_and_is_found_by_the_search_of_every_page(served: Library) -> None:
    made = pages(served)
    anchors = {f"{file}#{a}" for file, text in made.items() for a in Seen(text).anchors}
    names = {(e.kind, e.name) for e in entries(served.platform)}

    for text in made.values():
        index = json.loads(Seen(text).index)
        assert {(e["kind"], e["name"]) for e in index} == names
        assert {e["href"] for e in index} == anchors
    assert {kind for kind, _ in names} == set(KINDS)
    assert len(anchors) == len(names)


def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(served: Library) -> None:
    made = pages(served)
    anchors = {f"{file}#{a}" for file, text in made.items() for a in Seen(text).anchors}

    for text in made.values():
        seen = Seen(text)
        assert set(seen.links) <= anchors | set(made)
        assert seen.loaded == []
        assert not re.search(r"https?://|@import|url\(", text)


def test_a_feature_links_to_the_columns_it_is_made_from(served: Library) -> None:
    page = pages(served)[f"use_case_{NAME}.html"]
    row = re.search(r'<tr id="feature-library_loans.branch_late_rate">.*?</tr>', page, re.S)

    assert row and 'href="feeds.html#column-returns.due_at"' in row.group()
    assert "lending@example.org" in page and "As of then." in page


def test_what_a_contract_says_is_shown_as_text(served: Library) -> None:
    evil = "</script><script>alert(1)</script>"
    found = [replace(e, description=evil) for e in entries(served.platform)]

    for text in pages(served, found).values():
        assert evil not in text and "<script>alert" not in text


def test_the_use_case_s_page_is_markdown_that_holds_all_of_it(served: Library) -> None:
    page = markdown(entries(served.platform), served.use_case.config)

    assert MODEL in page and "returns.due_at, returns.returned_at" in page
    assert all(
        line.count(" | ") == 7 for line in page.splitlines() if line.startswith("| ") and "---" not in line
    )


def test_it_is_written_and_a_folder_that_cannot_be_written_says_so(served: Library, tmp_path: Path) -> None:
    first = write_site(pages(served), tmp_path / "a" / "b")
    assert first.read_text(encoding="utf-8").startswith("<!doctype html>")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        write_site(pages(served), tmp_path / "file" / "site")


def test_what_was_never_run_here_says_so_and_filters_know_every_value(served: Library) -> None:
    found = entries(served.platform)
    made = pages(served, [replace(e, run=False) for e in found])
    assert (
        "not run here" in made["index.html"]
        and "not run here" not in pages(served)[f"use_case_{NAME}.html"].split("<script")[0]
    )
    for entry in json.loads(Seen(made["feeds.html"]).index):
        assert not entry["run"] and entry["owner"] and entry["use_case"]
    for name in ("use_case", "kind", "classification", "owner"):
        assert f'<select id="{name}"' in made["index.html"]
    assert (
        f"<option>{NAME}</option>" in made["index.html"] and "<option>public</option>" in made["index.html"]
    )


def test_keys_that_rows_are_joined_on_stand_beside_the_sources(served: Library) -> None:
    page = pages(served)[f"use_case_{NAME}.html"]
    row = re.search(r'<tr id="feature-library_loans.staff">.*?</tr>', page, re.S)
    assert row and "joined on" in row.group() and 'href="feeds.html#column-branches.branch"' in row.group()
    assert "joined on branches.branch" in markdown(entries(served.platform), served.use_case.config)
