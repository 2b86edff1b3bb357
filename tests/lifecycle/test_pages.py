"""Pages are published once per content, listed newest first, and nothing else of the lake is a page."""

import pytest
from library import MODEL, Library, spoil

from ml_platform.errors import IntegrityError, NotFoundError
from ml_platform.lifecycle import pages, pointers
from ml_platform.lifecycle.shelf import PlatformShelf


def publish(library: Library, partition: str, html: bytes) -> str:
    return pages.publish(library.platform, library.target, "diagnosis", partition, html, library.now)


def test_a_page_is_published_like_every_object(fresh: Library) -> None:
    first = publish(fresh, "2020-06-01", b"<p>one")
    assert publish(fresh, "2020-06-01", b"<p>one") == first
    second = publish(fresh, "2020-06-08", b"<p>two")
    found = pages.published(fresh.platform, fresh.target)
    assert [(p.partition, p.digest) for p in found] == [("2020-06-08", second), ("2020-06-01", first)]
    assert pages.page(fresh.platform, first) == b"<p>one"
    assert fresh.platform.ledger.requested() == []


def test_a_page_that_was_replaced_keeps_its_address(fresh: Library) -> None:
    old = publish(fresh, "2020-06-01", b"<p>one")
    new = publish(fresh, "2020-06-01", b"<p>two")
    assert [p.digest for p in pages.published(fresh.platform, fresh.target)] == [new]
    assert pages.page(fresh.platform, old) == b"<p>one"


def test_other_objects_of_the_lake_are_no_pages(fresh: Library) -> None:
    for digest in (fresh.platform.lake.put(b"a secret"), "0" * 64):
        with pytest.raises(NotFoundError, match="names no page"):
            pages.page(fresh.platform, digest)


def test_a_spoilt_page_is_not_shown(fresh: Library) -> None:
    digest = publish(fresh, "2020-06-01", b"<p>one")
    spoil(fresh, digest)
    with pytest.raises(IntegrityError):
        pages.page(fresh.platform, digest)


def test_the_shelf_shows_what_there_is(fresh: Library) -> None:
    shelf = PlatformShelf(fresh.platform)
    assert "none yet" in shelf.index() and MODEL in shelf.index()
    digest = publish(fresh, "2020-06-01", b"<p>one")
    assert f'<a href="/pages/{digest}">2020-06-01</a>' in shelf.index()
    assert "loans.pages" in shelf.catalogue("feeds.html") and "returns.due_at" in shelf.catalogue(
        "index.html"
    )
    with pytest.raises(NotFoundError, match="no such page"):
        shelf.catalogue("../secrets")


def test_a_readme_stands_alone(fresh: Library) -> None:
    html = PlatformShelf(fresh.platform).readme("platform")
    assert 'src="data:image/png;base64,' in html and 'src="docs/' not in html and "<table>" in html
    for name in ("library_loans", "nothing", "../secrets"):
        with pytest.raises(NotFoundError):
            PlatformShelf(fresh.platform).readme(name)


def test_addresses_come_from_the_environment(fresh: Library) -> None:
    assert fresh.platform.pages_url == "http://127.0.0.1:8090"
    assert fresh.platform.mlflow_url == "http://127.0.0.1:5000"
    chosen = {
        "ML_PLATFORM_PAGES_URL": "https://pages.example/",
        "ML_PLATFORM_MLFLOW_URL": "https://ml.example",
    }
    starts_it = "after <code>ml-platform mlflow</code>, which starts it"
    assert starts_it in PlatformShelf(fresh.platform).index()
    fresh.platform.environment = {**fresh.platform.environment, **chosen}
    assert starts_it not in PlatformShelf(fresh.platform).index()
    assert pages.address(fresh.platform, "ab") == "https://pages.example/pages/ab"
    assert fresh.platform.mlflow_url == "https://ml.example"


def test_a_model_links_to_its_run_and_mlflow_that_is_down_to_none(
    trained: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = pointers.current(trained.platform, trained.target, "candidate_model")
    assert candidate is not None
    run_id, baseline = candidate.details["run_id"], candidate.details["baseline"]
    link = pages.mlflow_address(trained.platform, candidate.digest)
    assert link is not None and link.startswith("http://127.0.0.1:5000/#/experiments/")
    assert link.endswith(f"/runs/{run_id}")
    assert pages.mlflow_address(trained.platform, baseline) == link, "one run holds both"
    monkeypatch.setattr(trained.platform.tracking, "uri", "http://127.0.0.1:9")
    assert pages.mlflow_address(trained.platform, candidate.digest) is None
