"""Prometheus metrics of the HTTP service, in a registry of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ml_platform.errors import PlatformError
from ml_platform.serving.client import PredictionClient

CONTENT_TYPE = CONTENT_TYPE_LATEST
_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_METHODS = {"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"}
_PREFIX = "ml_platform_serving"


class Telemetry:
    """Counts requests and keys, times answers, and reads generation ages when it is scraped.

    Args:
        client: Whose generations are watched.
        models: Served models by key.
        now: model_key → now on its timeline.
    """

    def __init__(
        self, client: PredictionClient, models: Mapping[str, str], now: Callable[[str], datetime]
    ) -> None:
        self._client, self._models, self._now = client, models, now
        self.registry = CollectorRegistry()
        self.requests = Counter(
            f"{_PREFIX}_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self.latency = Histogram(
            f"{_PREFIX}_request_seconds",
            "Time to answer.",
            ["route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.keys = Counter(
            f"{_PREFIX}_keys", "Keys looked up, by outcome.", ["model", "outcome"], registry=self.registry
        )
        self.registry.register(self)

    def looked_up(self, model_key: str, *, found: int, missing: int) -> None:
        """Count keys of a model."""
        self.keys.labels(model_key, "found").inc(found)
        self.keys.labels(model_key, "missing").inc(missing)

    def exposition(self) -> bytes:
        """All metrics as text."""
        text: bytes = generate_latest(self.registry)
        return text

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """Counts and times every request under its route's template, never under its address."""

        async def measured(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            started, status = time.perf_counter(), 500

            async def noting(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await app(scope, receive, noting)
            finally:
                route = getattr(scope.get("route"), "path", "other")
                method = scope["method"] if scope["method"] in _METHODS else "other"
                self.requests.labels(method, route, status).inc()
                self.latency.labels(route).observe(time.perf_counter() - started)

        return measured

    def describe(self) -> list[Any]:
        """Nothing beforehand: registering must not ask the stores."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What Prometheus sees of each model's generation."""
        age = GaugeMetricFamily(
            f"{_PREFIX}_generation_age_seconds", "Since the generation was made.", labels=["model"]
        )
        rows = GaugeMetricFamily(f"{_PREFIX}_generation_rows", "Predictions served.", labels=["model"])
        up = GaugeMetricFamily(
            f"{_PREFIX}_up", "1 when the model has a generation to serve.", labels=["model"]
        )
        info = GaugeMetricFamily(
            f"{_PREFIX}_generation_info",
            "Which generation.",
            labels=["model", "generation", "served_partition"],
        )
        for model_key in self._models:
            try:
                generation = self._client.generation(model_key)
                seconds = (self._now(model_key) - generation.as_of).total_seconds()
            except PlatformError:
                up.add_metric([model_key], 0)
                continue
            up.add_metric([model_key], 1)
            age.add_metric([model_key], seconds)
            rows.add_metric([model_key], generation.rows)
            info.add_metric([model_key, generation.id, generation.served_partition], 1)
        yield from (age, rows, up, info)
