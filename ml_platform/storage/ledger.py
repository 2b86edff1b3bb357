"""The ledger: one SQL database that says what happened and what is in force.

Objects are written aside and verified first; then one transaction here publishes them. A publication
is first ``requested``, so that a crash leaves a trace, and counts only when it is ``committed``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, inspect, select, text, tuple_, update
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from ml_platform.errors import ConflictError, StoreError
from ml_platform.storage.tables import ABANDONED, COMMITTED, REQUESTED, Head, Publication

SCHEMA_VERSION = 1
"""Version of the published objects' layout."""

HEAD_REVISION = "0002"
"""The newest migration; a test holds it equal to Alembic's head."""

_CHUNK = 400


_WRITER = 0x6D6C5F70
"""Postgres's number of the lock that a writer holds."""


def wall_now() -> datetime:
    """The wall clock, for ``recorded_at`` only: never for meaning."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class NewPublication:
    """An object to be published for an asset's partition.

    ``expects`` is the publication that the writer has read and builds on (``None``: none yet); if
    another is in force by then, the commit is refused. ``ANY`` replaces whatever is there.
    """

    asset: str
    partition: str
    digest: str
    rows: int
    details: dict[str, Any] = field(default_factory=dict)
    expects: int | None = -1


ANY = -1


class Ledger:
    """The ledger behind an SQLAlchemy URL (SQLite by default, Postgres with the same models)."""

    def __init__(self, url: str) -> None:
        self.url = url

    @cached_property
    def engine(self) -> Engine:
        """The engine; at first use the schema is brought up to date."""
        if self.url.startswith("sqlite:///"):
            self._make_folder(Path(self.url.removeprefix("sqlite:///")).parent)
        try:
            # A server may have been restarted since a connection was used last.
            engine = create_engine(self.url, pool_pre_ping=not self.url.startswith("sqlite:"))
        except (SQLAlchemyError, ImportError) as error:
            raise self._down(error) from error
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _tune_sqlite)
        try:
            if _revision(engine) != HEAD_REVISION:
                _migrate(engine)
        except SQLAlchemyError as error:
            raise self._down(error) from error
        return engine

    @contextlib.contextmanager
    def begin(self) -> Iterator[Session]:
        """One transaction: committed at the end, rolled back on any error.

        Raises:
            StoreError: The database is down, locked or not writable.
        """
        try:
            with Session(self.engine, expire_on_commit=False) as session, session.begin():
                yield session
        except OperationalError as error:
            raise self._down(error) from error

    # --- publications -------------------------------------------------------------------------

    def assets(self) -> list[str]:
        """Names of all assets of which something is published."""
        with self.begin() as session:
            return list(session.scalars(select(Head.asset).distinct().order_by(Head.asset)))

    def heads(
        self, asset: str, partitions: Iterable[str] | None = None, *, as_of: datetime | None = None
    ) -> dict[str, Publication]:
        """The publications in force of an asset, by partition in order.

        Args:
            asset: Its name.
            partitions: Only these; all when None.
            as_of: In force by then on the timeline; now when None.
        """
        if as_of is not None:
            return self._heads_as_of(asset, None if partitions is None else set(partitions), as_of)
        query = (
            select(Publication)
            .join(Head, Head.publication_id == Publication.id)
            .where(Head.asset == asset)
            .order_by(Head.partition)
        )
        with self.begin() as session:
            if partitions is None:
                rows = list(session.scalars(query))
            else:
                rows = []
                for chunk in _chunks(sorted(set(partitions))):
                    rows += session.scalars(query.where(Head.partition.in_(chunk)))
        return {row.partition: row for row in rows}

    def digests(self, asset: str) -> dict[str, str]:
        """Digest of the publication in force, by partition in order: all that a reader of files needs."""
        query = (
            select(Head.partition, Publication.digest)
            .join(Publication, Head.publication_id == Publication.id)
            .where(Head.asset == asset)
            .order_by(Head.partition)
        )
        with self.begin() as session:
            return {row.partition: row.digest for row in session.execute(query)}

    def _heads_as_of(
        self, asset: str, partitions: set[str] | None, as_of: datetime
    ) -> dict[str, Publication]:
        query = (
            select(Publication)
            .where(Publication.asset == asset, Publication.status == COMMITTED, Publication.as_of <= as_of)
            .order_by(Publication.id)
        )
        with self.begin() as session:
            found = {row.partition: row for row in session.scalars(query)}
        return {k: found[k] for k in sorted(found) if partitions is None or k in partitions}

    def head(self, asset: str, partition: str) -> Publication | None:
        """The publication in force of one partition."""
        return self.heads(asset, [partition]).get(partition)

    def publish(self, items: Sequence[NewPublication], as_of: datetime) -> list[int]:
        """Request, then commit, in two transactions; the objects must be in the lake already.

        Returns:
            The publications' ids, in order.

        Raises:
            ConflictError: Another run has published one of the partitions since it was read; nothing of
                this call is published.
        """
        ids = self.request(items, as_of)
        self.commit(items, ids)
        return ids

    def request(self, items: Sequence[NewPublication], as_of: datetime) -> list[int]:
        """Record the intent to publish; what is only requested is not in force."""
        now = wall_now()
        with self.begin() as session:
            rows = [
                Publication(
                    asset=i.asset,
                    partition=i.partition,
                    digest=i.digest,
                    rows=i.rows,
                    status=REQUESTED,
                    as_of=as_of,
                    recorded_at=now,
                    schema_version=SCHEMA_VERSION,
                    supersedes=None,
                    details=i.details,
                )
                for i in items
            ]
            session.add_all(rows)
            session.flush()
            return [row.id for row in rows]

    def commit(self, items: Sequence[NewPublication], ids: Sequence[int]) -> None:
        """Put requested publications in force, all or none."""
        with self.committing(items, ids):
            pass

    @contextlib.contextmanager
    def committing(self, items: Sequence[NewPublication], ids: Sequence[int]) -> Iterator[Session]:
        """As :meth:`commit`, in one transaction with whatever else the caller adds to it."""
        try:
            with self.begin() as session:
                self.commit_in(session, items, ids)
                yield session
        except ConflictError:
            self.abandon(ids)
            raise

    def commit_in(self, session: Session, items: Sequence[NewPublication], ids: Sequence[int]) -> None:
        """As :meth:`commit`, inside a transaction of the caller's."""
        one_writer(session)
        current = _current_heads(session, items)
        new: list[dict[str, Any]] = []
        for item, publication_id in zip(items, ids, strict=True):
            old = current.get((item.asset, item.partition))
            if item.expects != ANY and old != item.expects:
                raise ConflictError(
                    "another run has published this partition in the meantime",
                    where=f"{item.asset} {item.partition}",
                    fix="run it again: it will build on what is there now",
                )
            if old is None:
                new.append(
                    {
                        "asset": item.asset,
                        "partition": item.partition,
                        "publication_id": publication_id,
                    }
                )
            else:
                changed = session.execute(
                    update(Head)
                    .where(Head.asset == item.asset, Head.partition == item.partition)
                    .where(Head.publication_id == old)
                    .values(publication_id=publication_id)
                )
                if changed.rowcount != 1:  # type: ignore[attr-defined]
                    raise ConflictError(
                        "another run is publishing this partition",
                        where=f"{item.asset} {item.partition}",
                        fix="run it again",
                    )
        if new:
            session.execute(Head.__table__.insert(), new)  # type: ignore[attr-defined]
        for chunk in _chunks(list(ids)):
            session.execute(update(Publication).where(Publication.id.in_(chunk)).values(status=COMMITTED))

    def publications(self, ids: Sequence[int]) -> list[Publication]:
        """Publications by id, in order of id."""
        query = select(Publication).where(Publication.id.in_(ids)).order_by(Publication.id)
        with self.begin() as session:
            return list(session.scalars(query))

    def requested(self) -> list[Publication]:
        """Publications that were requested and never committed."""
        with self.begin() as session:
            return list(session.scalars(select(Publication).where(Publication.status == REQUESTED)))

    def abandon(self, ids: Sequence[int]) -> None:
        """Mark requested publications as given up (the doctor's work after a crash)."""
        with self.begin() as session:
            for chunk in _chunks(list(ids)):
                session.execute(
                    update(Publication)
                    .where(Publication.id.in_(chunk), Publication.status == REQUESTED)
                    .values(status=ABANDONED)
                )

    # --- errors -------------------------------------------------------------------------------

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._down(error) from error

    def _down(self, error: Exception) -> StoreError:
        shown = self.url if "@" not in self.url else self.url.split("@", 1)[1]
        return StoreError(
            f"the ledger cannot be used: {str(error).splitlines()[0]}",
            where=shown,
            fix="check ML_PLATFORM_LEDGER_URL, that the database runs, and that its disk is not full",
        )


def one_writer(session: Session) -> None:
    """Let one transaction at a time past this point, until it ends: what it reads then still holds."""
    dialect = session.get_bind().dialect.name
    if dialect == "sqlite":
        # SQLite locks at the first write; without this, two readers could both pass a check.
        session.execute(update(Head).where(Head.asset == "").values(partition=""))
    elif dialect == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITER})


def _tune_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("select version_num from alembic_version")).scalar()


def _migrate(engine: Engine) -> None:
    """Bring the schema up to date, one process at a time."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with _alone(engine), engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextlib.contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    if engine.dialect.name == "sqlite":
        from filelock import FileLock

        with FileLock(f"{engine.url.database}.lock"):
            yield
    elif engine.dialect.name == "postgresql":
        with engine.connect() as holder:
            holder.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _WRITER})
            holder.commit()
            try:
                yield
            finally:
                holder.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _WRITER})
                holder.commit()
    else:
        yield


def _current_heads(session: Session, items: Sequence[NewPublication]) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for chunk in _chunks(list(items)):
        keys = [(i.asset, i.partition) for i in chunk]
        rows = session.execute(
            select(Head.asset, Head.partition, Head.publication_id).where(
                tuple_(Head.asset, Head.partition).in_(keys)
            )
        )
        found |= {(asset, partition): publication for asset, partition, publication in rows}
    return found


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]
