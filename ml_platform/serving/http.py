"""Predictions over HTTP, on loopback: one key or many, and what an operator watches."""

from __future__ import annotations

import errno
import hmac
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import APIRouter, FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from ml_platform.errors import ConfigError, NotFoundError, NotReadyError, PlatformError
from ml_platform.serving.answers import EXAMPLE, GenerationInfo, PredictionAnswer, answer
from ml_platform.serving.api_page import page
from ml_platform.serving.client import PredictionClient
from ml_platform.serving.telemetry import CONTENT_TYPE, Telemetry

TOKEN_VARIABLE = "ML_PLATFORM_SERVE_TOKEN"
MOST_KEYS = 1000
"""Keys that one request may ask for."""

LOOPBACK = "127.0.0.1"
_HOSTS = ("127.0.0.1", "localhost")
_RETRY_SECONDS = "5"

Now = Callable[[str], datetime]
"""model_key → now on its use case's timeline."""


class Problem(BaseModel):
    """Why there is no answer, and what helps."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "error": "partition 2024-05-01 has no prediction of 'K7/9999'",
                "where": "parcels/late, generation 5d41402abc4b2a76, partitions 2024-04-30, 2024-05-01",
                "fix": "keys nearby: 2024-05-01/K8/1001",
            }
        }
    )

    error: str = Field(description="What went wrong.")
    where: str = Field(description="What it concerns.")
    fix: str = Field(description="What to do about it.")


class KeysRequest(BaseModel):
    """Keys to look up together."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"keys": ["2024-05-01/K7/1042", "K7/1043"]}}
    )

    keys: list[Annotated[str, Field(min_length=1)]] = Field(
        min_length=1, max_length=MOST_KEYS, description="Each as for a single prediction."
    )


class KeyAnswer(BaseModel):
    """What became of one key."""

    key: str = Field(description="As it was asked for.")
    found: bool
    prediction: PredictionAnswer | None = None
    why: str | None = Field(default=None, description="Why there is none.")


class KeysAnswer(BaseModel):
    """Several predictions, all from one generation, in the order asked for."""

    generation: GenerationInfo
    found: int = Field(description="How many keys were found.")
    answers: list[KeyAnswer]


class Readiness(BaseModel):
    """Whether the service can answer, model by model."""

    ready: bool
    store: str = Field(description="The cache, and what is wrong with it if something is.")
    models: dict[str, str] = Field(description="Generation of each model, or why it has none.")


def wall(_model_key: str) -> datetime:
    """The wall clock, for use cases that live by it."""
    return datetime.now(UTC)


def create_app(
    client: PredictionClient,
    models: Mapping[str, str],
    *,
    now: Now = wall,
    token: str | None = None,
    hosts: Sequence[str] = _HOSTS,
    gone: Mapping[str, PlatformError] = MappingProxyType({}),
) -> FastAPI:
    """The HTTP service.

    Args:
        client: Where predictions come from.
        models: Served models: key ``<use_case>/<model>`` → title for people.
        now: The timelines' clocks, for ages.
        token: Bearer token that every path but ``/healthz`` asks for; by default that of
            $ML_PLATFORM_SERVE_TOKEN, and none where it is not set.
        hosts: Host names that requests may be addressed to, against pages that rebind theirs.
        gone: Use cases that were served once, by name, and why they are not now.
    """
    telemetry = Telemetry(client, models, now)
    app = FastAPI(
        title="Predictions",
        version="1",
        description="Predictions of: "
        + ", ".join(f"{title or key} ({key})" for key, title in models.items()),
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(_operations(client, models, telemetry))
    app.include_router(_predictions(client, models, now, telemetry, gone))
    _explain_errors(app)
    app.add_middleware(_BearerToken, token=token or os.environ.get(TOKEN_VARIABLE, ""))
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    app.add_middleware(telemetry.middleware)

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(page(app.openapi()))

    return app


def run(app: FastAPI, port: int) -> None:
    """Serve on 127.0.0.1 until interrupted.

    Raises:
        ConfigError: The port is taken or not allowed.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        _bind(listener, port)
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
        uvicorn.Server(config).run(sockets=[listener])


def require_free(port: int) -> None:
    """Refuse a port before a server of others takes it: what that says of one in use is not clear.

    Raises:
        ConfigError: The port is taken or not allowed.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        _bind(listener, port)


def _bind(listener: socket.socket, port: int) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except (OSError, OverflowError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        why = "the port is in use by another process" if taken else f"cannot listen: {error}"
        fix = "choose another port with --port, or end what listens there"
        raise ConfigError(why, where=f"{LOOPBACK}:{port}", fix=fix) from error


def _predictions(
    client: PredictionClient,
    models: Mapping[str, str],
    now: Now,
    telemetry: Telemetry,
    gone: Mapping[str, PlatformError],
) -> APIRouter:
    problems: dict[int | str, dict[str, Any]] = {
        404: {"model": Problem, "description": "There is no such model or key."},
        503: {"model": Problem, "description": "Nothing is published yet, or a store is down."},
    }
    router = APIRouter(prefix="/v1", tags=["predictions"], responses=problems)

    @router.post("/{use_case}/{model}", summary="Many predictions, all from one generation")
    def many(use_case: str, model: str, wanted: KeysRequest) -> KeysAnswer:
        require_there(use_case)
        return look_up(_known(models, use_case, model), wanted)

    @router.post("/{use_case}", summary="Many predictions of a use case with one model")
    def many_of_the_only_model(use_case: str, wanted: KeysRequest) -> KeysAnswer:
        require_there(use_case)
        return look_up(_only(models, use_case), wanted)

    @router.get("/{use_case}/{path:path}", summary="One prediction", response_model_exclude_none=True)
    def one(
        use_case: str,
        path: Annotated[
            str,
            Path(
                description="`<model>/<key>`, or `<key>` where the use case has one model. A key is "
                "`<partition>/<entity>`, or `<entity>` alone for its newest prediction.",
                openapi_examples={"key": {"value": f"late/{EXAMPLE['key']}"}},
            ),
        ],
    ) -> PredictionAnswer:
        require_there(use_case)
        model_key, key = _split(models, use_case, path)
        try:
            prediction = client.get(model_key, key)
        except NotFoundError:
            telemetry.looked_up(model_key, found=0, missing=1)
            raise
        telemetry.looked_up(model_key, found=1, missing=0)
        return answer(prediction, now(model_key))

    def require_there(use_case: str) -> None:
        if (error := gone.get(use_case)) is not None:
            raise NotFoundError(error.what, where=error.where, fix=error.fix)

    def look_up(model_key: str, wanted: KeysRequest) -> KeysAnswer:
        answers = client.get_many(model_key, wanted.keys)
        at = now(model_key)
        rows = [
            KeyAnswer(key=key, found=True, prediction=answer(answers.found[key], at))
            if key in answers.found
            else KeyAnswer(key=key, found=False, why="no served partition has this key")
            for key in wanted.keys
        ]
        found = sum(row.found for row in rows)
        telemetry.looked_up(model_key, found=found, missing=len(rows) - found)
        return KeysAnswer(generation=GenerationInfo.of(answers.generation), found=found, answers=rows)

    return router


def _operations(client: PredictionClient, models: Mapping[str, str], telemetry: Telemetry) -> APIRouter:
    router = APIRouter(tags=["operations"])

    @router.get("/healthz", summary="The process lives")
    def healthz() -> dict[Literal["status"], str]:
        return {"status": "ok"}

    @router.get(
        "/readyz",
        summary="Every model that was ever published can be served",
        responses={503: {"model": Readiness, "description": "Not so."}},
    )
    def readyz(response: Response) -> Readiness:
        readiness = _readiness(client, models)
        response.status_code = 200 if readiness.ready else 503
        return readiness

    @router.get("/metrics", summary="Prometheus metrics", response_class=Response)
    def metrics() -> Response:
        return Response(telemetry.exposition(), media_type=CONTENT_TYPE)

    return router


def _readiness(client: PredictionClient, models: Mapping[str, str]) -> Readiness:
    states: dict[str, str] = {}
    ready = True
    try:
        health = client.cache.health()
        store = f"{health.store} at {health.where}"
    except PlatformError as error:
        store, ready = f"{error.what} ({error.fix})", False
    published = 0
    for model_key in models:
        try:
            generation = client.generation(model_key)
            states[model_key] = client.trouble(model_key) or f"generation {generation.id}"
            published += 1
        except NotReadyError as error:
            # A model that has never been promoted keeps no other from being served.
            states[model_key] = f"{error.what} ({error.fix})"
        except PlatformError as error:
            states[model_key], ready = f"{error.what} ({error.fix})", False
    ready = ready and published > 0
    return Readiness(ready=ready, store=store, models=states)


def _known(models: Mapping[str, str], use_case: str, model: str) -> str:
    if f"{use_case}/{model}" not in models:
        raise _unknown(models, f"{use_case}/{model}")
    return f"{use_case}/{model}"


def _only(models: Mapping[str, str], use_case: str) -> str:
    of_use_case = [key for key in models if key.startswith(f"{use_case}/")]
    if len(of_use_case) != 1:
        raise _unknown(models, use_case)
    return of_use_case[0]


def _split(models: Mapping[str, str], use_case: str, path: str) -> tuple[str, str]:
    """The model and the key in ``<model>/<key>`` or ``<key>``."""
    model, _, key = path.partition("/")
    if f"{use_case}/{model}" in models and key:
        return f"{use_case}/{model}", key
    return _only(models, use_case), path


def _unknown(models: Mapping[str, str], name: str) -> NotFoundError:
    return NotFoundError(
        f"no model is served as '{name}'",
        where="address",
        fix=f"choose one of: {', '.join(models) or 'none'}",
    )


def _explain_errors(app: FastAPI) -> None:
    @app.exception_handler(PlatformError)
    def platform(_request: Request, error: PlatformError) -> JSONResponse:
        if isinstance(error, NotFoundError):
            return _problem(404, error.what, error.where, error.fix)
        return _problem(503, error.what, error.where, error.fix, {"Retry-After": _RETRY_SECONDS})

    @app.exception_handler(RequestValidationError)
    def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        return _problem(
            422, f"the request is malformed: {first['msg']}", where, 'send {"keys": ["…"]}; see /docs'
        )

    @app.exception_handler(HTTPException)
    def other(request: Request, error: HTTPException) -> JSONResponse:
        what = f"{error.detail}: {request.method} {request.url.path}"
        return _problem(error.status_code, what, "address", "see /docs for the addresses", error.headers)


def _problem(
    status: int, what: str, where: str, fix: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    content = Problem(error=what, where=where, fix=fix).model_dump()
    return JSONResponse(content, status_code=status, headers=dict(headers or {}))


class _BearerToken:
    """Asks for the token on every path but ``/healthz``."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._expected = app, f"Bearer {token}".encode() if token else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._expected and scope["path"] != "/healthz":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                refusal = _problem(
                    401,
                    "the bearer token is missing or wrong",
                    "header Authorization",
                    f"send 'Authorization: Bearer' with the value of {TOKEN_VARIABLE} of the service",
                    {"WWW-Authenticate": "Bearer"},
                )
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)
