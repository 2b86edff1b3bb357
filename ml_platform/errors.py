"""The errors a user can cause, each saying what went wrong, where, and how to fix it."""

from __future__ import annotations


class PlatformError(Exception):
    """Base of every error that a user, a feed or a store can cause.

    Args:
        what: What went wrong, in one sentence.
        where: The file, line, partition, object or address it concerns.
        fix: What the reader can do about it.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        parts = [what]
        if where:
            parts.append(f"  where: {where}")
        if fix:
            parts.append(f"  fix:   {fix}")
        super().__init__("\n".join(parts))


class ConfigError(PlatformError):
    """A use case, contract or setting is malformed."""


class FeedError(PlatformError):
    """A feed's source cannot be read or does not have the promised shape."""


class ContractError(PlatformError):
    """A contract is malformed, or data cannot be checked against it."""


class PartitionError(PlatformError):
    """A partition key is malformed or outside the declared range."""


class StoreError(PlatformError):
    """A store is down, full or not writable."""


class IntegrityError(PlatformError):
    """Stored bytes do not match the digest or the shape that the ledger promised."""


class ConflictError(PlatformError):
    """Another run published the same thing first."""


class NotFoundError(PlatformError):
    """Something that was asked for by name does not exist."""


class NoChampionError(NotFoundError):
    """A model has no champion that could score or be rolled back to."""


class NotReadyError(PlatformError):
    """A precondition is not met yet, for example immature labels or a missing evaluation."""


class GateError(PlatformError):
    """A promotion was refused because a gate failed or could not be judged."""
