"""The reading side: predictions from the serving cache, the generation as the ledger says."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime

from fastapi import FastAPI

from ml_platform.errors import NotFoundError, PartitionError, StoreError
from ml_platform.lifecycle.absent import removed
from ml_platform.lifecycle.caching import as_generation, committed_generation
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.serving.client import Prediction, PredictionClient
from ml_platform.serving.generations import Generation
from ml_platform.serving.http import create_app


def client(platform: Platform) -> PredictionClient:
    """A client that resolves generations through the ledger."""

    def resolve(model_key: str) -> Generation | None:
        row = committed_generation(platform, model_key)
        return as_generation(row) if row else None

    return PredictionClient(platform.cache, resolve)


def prediction(platform: Platform, target: Target, key: str) -> Prediction:
    """One prediction; its partition may be written as people do, such as ``2023-08`` for a month.

    Raises:
        NotFoundError, NotReadyError, IntegrityError, StoreError: As for :meth:`.PredictionClient.get`.
    """
    reader = client(platform)
    try:
        return reader.get(target.key, key)
    except NotFoundError:
        # Only now: an entity's own key may look like a partition in another form.
        written, _, entity = key.partition("/")
        try:
            partition = target.use_case.scheme.read(written)
        except PartitionError:
            partition = written
        if partition == written:
            raise
    return reader.get(target.key, f"{partition}/{entity}")


def application(platform: Platform) -> FastAPI:
    """The HTTP service over all models."""
    models = {t.key: t.model.title for t in platform.targets()}
    gone: dict[str, NotFoundError] = {}
    with contextlib.suppress(StoreError):  # a ledger that is down: the service begins, and waits for it
        gone = removed(platform)
    return create_app(client(platform), models, now=timeline_now(platform), gone=gone)


def timeline_now(platform: Platform) -> Callable[[str], datetime]:
    """The present of a model's timeline: ages are counted on it."""
    return lambda model_key: platform.clock(platform.target(model_key).use_case).now()
