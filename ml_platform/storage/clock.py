"""A clock per timeline. Nothing else in the platform reads the time for meaning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ml_platform.config import TimelineConfig
from ml_platform.errors import NotFoundError, PlatformError
from ml_platform.storage.ledger import Ledger, one_writer, wall_now
from ml_platform.storage.tables import Timeline


class Clock:
    """The time on one timeline: the wall's, or a replay's that stands still until it is moved."""

    def __init__(self, ledger: Ledger, timeline: TimelineConfig) -> None:
        self.ledger, self.timeline = ledger, timeline

    def now(self) -> datetime:
        """The present instant on this timeline (UTC)."""
        if self.timeline.clock == "wall":
            return wall_now()
        with self.ledger.begin() as session:
            row = session.get(Timeline, self.timeline.name)
            if row is not None and row.now is not None:
                return row.now
        assert self.timeline.start is not None
        return self.timeline.start.astimezone(UTC)

    def set(self, instant: datetime, *, back: bool = False) -> datetime:
        """Move a replay clock.

        Args:
            instant: Where to (with an offset).
            back: Allow it to go backwards, which a running timeline should not.

        Raises:
            PlatformError: It is a wall clock, or would go backwards.
        """
        if self.timeline.clock == "wall":
            raise PlatformError(
                f"timeline '{self.timeline.name}' follows the wall clock",
                where="clock",
                fix="only timelines with `clock: replay` can be moved",
            )
        if instant.tzinfo is None:
            raise PlatformError(
                f"'{instant}' has no UTC offset",
                where="clock",
                fix="write for example 2020-03-01T22:00:00-05:00",
            )
        if instant < self.now() and not back:
            raise PlatformError(
                f"the clock stands at {self.now().isoformat()} and would go back to {instant.isoformat()}",
                where=f"timeline {self.timeline.name}",
                fix="add --back if you mean it; what was recorded later stays in the ledger",
            )
        with self.ledger.begin() as session:
            one_writer(session)
            session.merge(
                Timeline(
                    name=self.timeline.name,
                    kind="replay",
                    now=instant.astimezone(UTC),
                    recorded_at=wall_now(),
                )
            )
        return instant.astimezone(UTC)

    def advance(self, by: timedelta) -> datetime:
        """Move a replay clock forward."""
        return self.set(self.now() + by)


def find_timeline(timelines: dict[str, TimelineConfig], name: str) -> TimelineConfig:
    """The timeline with this name.

    Raises:
        NotFoundError: No use case declares it.
    """
    if name not in timelines:
        raise NotFoundError(
            f"there is no timeline '{name}'",
            fix=f"choose one of: {', '.join(sorted(timelines)) or 'none declared'}",
        )
    return timelines[name]
