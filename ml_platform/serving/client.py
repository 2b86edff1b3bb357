"""The typed client through which everything reads predictions."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ml_platform.errors import NotFoundError, StoreError
from ml_platform.serving.cache import Hit, ServingCache, nothing_published
from ml_platform.serving.generations import Generation
from ml_platform.serving.records import PredictionRecord, decode

Resolve = Callable[[str], Generation | None]
"""model_key → the generation that the ledger has committed last; None when there is none."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One prediction and the generation it was served from.

    Attributes:
        record: The prediction.
        generation: The generation it was read from.
        segment_id: The segment, the evidence of what was served.
    """

    record: PredictionRecord
    generation: Generation
    segment_id: str

    def age(self, now: datetime) -> timedelta:
        """Time since it was scored; ``now`` is the timeline's, not the wall clock's."""
        return now - self.record.scored_at


@dataclass(frozen=True, slots=True)
class Answers:
    """Several predictions, all from one generation.

    Attributes:
        generation: That generation.
        found: Predictions by the key that was asked for.
        missing: Keys that it does not have, in the order asked for.
    """

    generation: Generation
    found: dict[str, Prediction]
    missing: tuple[str, ...]


class PredictionClient:
    """Reads predictions of any model from a serving cache.

    The ledger is the truth about which generation is in force, the cache's own pointer only a projection
    of it; so a client with ``resolve`` reads the ledger's generation, even when the pointer lags behind.
    When the ledger cannot be reached, the generation that it named last is served on, and
    :meth:`trouble` says so.

    Args:
        cache: The cache.
        resolve: Asks the ledger; without it the cache's pointer decides.
        refresh_seconds: How long a generation is trusted before it is asked for again.
    """

    def __init__(
        self, cache: ServingCache, resolve: Resolve | None = None, refresh_seconds: float = 1.0
    ) -> None:
        self.cache, self._resolve, self._refresh = cache, resolve, refresh_seconds
        self._held: dict[str, tuple[Generation, float]] = {}
        self._trouble: dict[str, str] = {}

    def get(self, model_key: str, key: str) -> Prediction:
        """One prediction.

        Args:
            model_key: ``<use_case>/<model>``.
            key: ``<partition>/<entity>``, or ``<entity>`` alone for its newest prediction.

        Raises:
            NotFoundError: The generation does not have the key.
            NotReadyError: The model has no published generation yet.
            IntegrityError: What the cache holds is corrupt or incomplete.
            StoreError: The cache, or the ledger at first use, cannot be reached.
        """
        answers = self.get_many(model_key, [key])
        if answers.missing:
            raise self.not_found(answers.generation, key)
        return answers.found[key]

    def get_many(self, model_key: str, keys: Sequence[str]) -> Answers:
        """Several predictions, all from one generation.

        Raises:
            NotReadyError, IntegrityError, StoreError: As for :meth:`get`.
        """
        fresh: list[bool] = []

        def find() -> Generation:
            # Asked a second time: the generation that was held has been pruned since.
            fresh.append(bool(fresh))
            return self.generation(model_key, fresh=fresh[-1])

        generation, hits = self.cache.get_many(model_key, keys, find)
        found = {
            key: _prediction(generation, hit) for key, hit in zip(keys, hits, strict=True) if hit is not None
        }
        return Answers(generation, found, tuple(key for key in dict.fromkeys(keys) if key not in found))

    def generation(self, model_key: str, *, fresh: bool = False) -> Generation:
        """The generation in force, at most ``refresh_seconds`` old unless ``fresh``.

        Raises:
            NotReadyError: None is published yet.
            StoreError: Neither ledger nor cache can say.
        """
        held = self._held.get(model_key)
        now = time.monotonic()
        if held is not None and not fresh and now - held[1] < self._refresh:
            return held[0]
        generation = self._ask(model_key, held[0] if held else None)
        self._held[model_key] = (generation, now)
        return generation

    def trouble(self, model_key: str) -> str | None:
        """Why the generation may be out of date; None while the ledger answers."""
        return self._trouble.get(model_key)

    def not_found(self, generation: Generation, key: str) -> NotFoundError:
        """The error of a key that a generation does not have, with what it has instead."""
        partition_key, _, entity = key.partition("/")
        segment = generation.by_partition.get(partition_key)
        served = ", ".join(s.partition_key for s in generation.segments)
        if segment is None:
            what = f"no served partition has a prediction of '{key}'"
            segment, near = generation.segments[-1], f"{generation.served_partition}/{key}"
        else:
            what, near = f"partition {partition_key} has no prediction of '{entity}'", key
        examples = self.cache.neighbours(segment.segment_id, near)
        return NotFoundError(
            what,
            where=f"{generation.model_key}, generation {generation.id}, partitions {served}",
            fix="keys nearby: " + ", ".join(examples) if examples else "ask for another key",
        )

    def _ask(self, model_key: str, last: Generation | None) -> Generation:
        if self._resolve is None:
            return self.cache.published(model_key)
        try:
            generation = self._resolve(model_key)
        except StoreError as error:
            if last is None:
                raise
            self._trouble[model_key] = f"the ledger cannot be reached: {error.what}"
            return last
        self._trouble.pop(model_key, None)
        if generation is None:
            raise nothing_published(model_key, "ledger")
        return generation


def _prediction(generation: Generation, hit: Hit) -> Prediction:
    record = decode(hit.value, model_key=generation.model_key, key=hit.key)
    return Prediction(record, generation, hit.segment.segment_id)
