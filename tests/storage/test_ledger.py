"""What is in force is what was committed, and nothing else."""

import multiprocessing
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from ml_platform.errors import ConflictError, StoreError
from ml_platform.storage import ledger as ledger_module
from ml_platform.storage.ledger import ANY, HEAD_REVISION, Ledger, NewPublication
from ml_platform.storage.tables import Base

NOW = datetime(2020, 3, 1, tzinfo=UTC)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    made = Ledger(ledger_url)
    yield made
    made.engine.dispose()


def new(partition: str, digest: str = "a", expects: int | None = ANY) -> NewPublication:
    return NewPublication("uc/features", partition, digest * 64, 3, {"note": "x"}, expects)


def test_published_partitions_are_in_force_in_order(ledger: Ledger) -> None:
    ledger.publish([new("2020-01-02"), new("2020-01-01")], NOW)
    heads = ledger.heads("uc/features")
    assert list(heads) == ["2020-01-01", "2020-01-02"]
    assert heads["2020-01-01"].as_of == NOW and heads["2020-01-01"].details == {"note": "x"}
    assert ledger.digests("uc/features") == {p: h.digest for p, h in heads.items()}
    assert ledger.digests("uc/labels") == {}


def test_what_is_only_requested_is_not_in_force(ledger: Ledger) -> None:
    """A kill between 'written aside' and 'published' leaves the last good state."""
    [first] = ledger.publish([new("p", "a")], NOW)
    requested = ledger.request([new("p", "b")], NOW)
    assert ledger.heads("uc/features")["p"].id == first
    assert [r.id for r in ledger.requested()] == requested
    ledger.abandon(requested)
    assert ledger.requested() == []
    assert ledger.heads("uc/features")["p"].id == first


def test_a_writer_that_read_an_older_state_is_refused_and_nothing_of_it_is_published(ledger: Ledger) -> None:
    [first] = ledger.publish([new("p", "a", expects=None)], NOW)
    [second] = ledger.publish([new("p", "b", expects=first)], NOW)
    with pytest.raises(ConflictError, match="another run"):
        ledger.publish([new("q", "c", expects=None), new("p", "c", expects=first)], NOW)
    assert ledger.heads("uc/features")["p"].id == second
    assert "q" not in ledger.heads("uc/features")
    assert ledger.requested() == []


def _race(url: str, number: int, results: "multiprocessing.Queue[str]") -> None:
    try:
        Ledger(url).publish([new("p", str(number), expects=None)], NOW)
        results.put("won")
    except ConflictError:
        results.put("refused")


def test_of_two_processes_on_one_partition_exactly_one_wins(ledger: Ledger) -> None:
    ledger.heads("warm-up")
    # Children that inherit no connection, and no need to import all modules again.
    ledger.engine.dispose()
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    workers = [context.Process(target=_race, args=(ledger.url, n, results)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert sorted(results.get(timeout=5) for _ in workers) == ["refused"] * 3 + ["won"]


def _open(url: str, results: "multiprocessing.Queue[str]") -> None:
    try:
        Ledger(url).publish([new("p")], NOW)
        results.put("opened")
    except Exception as error:  # whatever it is, the test names it
        results.put(repr(error))


def test_processes_that_open_an_empty_ledger_at_once_make_one_schema(ledger_url: str) -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    workers = [context.Process(target=_open, args=(ledger_url, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert [results.get(timeout=60) for _ in workers] == ["opened"] * 3
    for worker in workers:
        worker.join(60)


def test_many_partitions_are_published_at_once(ledger: Ledger) -> None:
    ledger.publish([new(f"p{n:04}") for n in range(1000)], NOW)
    assert len(ledger.heads("uc/features")) == 1000
    assert len(ledger.heads("uc/features", [f"p{n:04}" for n in range(500)])) == 500


def test_the_migrations_make_exactly_the_tables(ledger: Ledger) -> None:
    with ledger.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_the_ledger_knows_the_newest_migration() -> None:
    config = Config()
    folder = Path(ledger_module.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD_REVISION


def test_a_naive_instant_is_refused(ledger: Ledger) -> None:
    with pytest.raises(Exception, match="offset"):
        ledger.publish([new("p")], datetime(2020, 1, 1))


def test_a_ledger_that_is_down_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StoreError, match="ledger cannot be used"):
        Ledger(f"sqlite:///{tmp_path / 'file' / 'ledger.db'}").heads("x")


def test_a_server_that_was_restarted_is_found_again(postgres_url: str) -> None:
    ledger = Ledger(postgres_url)
    ledger.publish([new("p")], NOW)
    with Ledger(postgres_url).begin() as session:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        session.execute(text(f"{others} AND pid <> pg_backend_pid()"))
    assert list(ledger.heads("uc/features")) == ["p"]


def test_a_password_is_never_shown() -> None:
    with pytest.raises(StoreError) as error:
        Ledger("postgresql://user:secret@127.0.0.1:9/db").heads("x")
    assert "secret" not in str(error.value)
