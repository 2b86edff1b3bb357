"""The HTTP service through a real server on loopback."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from servers import free_port

from ml_platform.errors import ConfigError
from ml_platform.serving.cache import ServingCache, open_cache
from ml_platform.serving.client import PredictionClient
from ml_platform.serving.http import MOST_KEYS, TOKEN_VARIABLE, create_app, run

from .conftest import AS_OF, MODEL, WORDS, publish_days
from .loopback import served

ONE, TWO = "2024-05-01", "2024-05-02"
NOW = AS_OF + timedelta(hours=3)


def app_of(cache: ServingCache, *models: str, token: str | None = None) -> FastAPI:
    titles = dict.fromkeys(models or (MODEL,), "Late parcels")
    client = PredictionClient(cache, refresh_seconds=0)
    return create_app(client, titles, now=lambda _model_key: NOW, token=token)


@pytest.fixture
def http(lmdb_cache: ServingCache, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with served(app_of(lmdb_cache)) as client:
        yield client


def test_one_prediction_is_an_answer_that_a_person_understands(
    http: httpx.Client, lmdb_cache: ServingCache
) -> None:
    generation = publish_days(lmdb_cache, ONE, TWO, chance=0.5, version=2)
    response = http.get(f"/v1/parcels/late/{TWO}/K7/1")
    assert response.status_code == 200
    body = response.json()
    assert body["decision"] == WORDS.positive
    assert body["probability"] == 0.5
    assert body["model"]["version"] == 2
    assert body["generation"]["id"] == generation.id
    assert body["generation"]["served_partition"] == TWO
    assert (body["age_seconds"], body["age"]) == (10800, "3 hours")
    assert "3 hours ago" in body["text"]


@pytest.mark.parametrize("path", ["late/K7/1", f"{ONE}/K7/1", "K7/1", f"late/{ONE}/K7/1"])
def test_the_model_may_be_left_out_where_there_is_one(
    http: httpx.Client, lmdb_cache: ServingCache, path: str
) -> None:
    publish_days(lmdb_cache, ONE)
    assert http.get(f"/v1/parcels/{path}").json()["key"] == f"{ONE}/K7/1"


def test_the_model_must_be_named_where_there_are_several(lmdb_cache: ServingCache) -> None:
    publish_days(lmdb_cache, ONE)
    with served(app_of(lmdb_cache, MODEL, "parcels/lost")) as http:
        assert http.get(f"/v1/parcels/late/{ONE}/K7/1").status_code == 200
        refused = http.get(f"/v1/parcels/{ONE}/K7/1")
        assert refused.status_code == 404
        assert "parcels/late, parcels/lost" in refused.json()["fix"]
        assert http.post("/v1/parcels", json={"keys": ["K7/1"]}).status_code == 404


@pytest.mark.parametrize("address", ["/v1/parcels/late", "/v1/parcels"])
def test_many_keys_are_answered_in_order_with_the_missing_ones_explained(
    http: httpx.Client, lmdb_cache: ServingCache, address: str
) -> None:
    generation = publish_days(lmdb_cache, ONE)
    body = http.post(address, json={"keys": ["K7/2", "nobody", f"{ONE}/K7/1"]}).json()
    assert [row["found"] for row in body["answers"]] == [True, False, True]
    assert [row["key"] for row in body["answers"]] == ["K7/2", "nobody", f"{ONE}/K7/1"]
    assert body["answers"][0]["prediction"]["key"] == f"{ONE}/K7/2"
    assert "no served partition" in body["answers"][1]["why"]
    assert (body["found"], body["generation"]["id"]) == (2, generation.id)


def test_a_missing_key_is_404_with_what_is_near(http: httpx.Client, lmdb_cache: ServingCache) -> None:
    publish_days(lmdb_cache, ONE)
    response = http.get(f"/v1/parcels/late/{ONE}/K7/0")
    assert response.status_code == 404
    assert "K7/0" in response.json()["error"]
    assert f"{ONE}/K7/1" in response.json()["fix"]


def test_an_unknown_model_is_404_with_those_that_there_are(http: httpx.Client) -> None:
    response = http.get("/v1/letters/late/x")
    assert response.status_code == 404
    assert MODEL in response.json()["fix"]


def test_nothing_published_yet_is_503_with_the_reason(http: httpx.Client) -> None:
    response = http.get("/v1/parcels/late/K7/1")
    assert response.status_code == 503
    assert "no published generation" in response.json()["error"]
    assert response.headers["Retry-After"]


def test_a_store_that_is_down_is_503_and_not_ready_but_alive() -> None:
    down = open_cache(f"redis://127.0.0.1:{free_port()}/0")
    with served(app_of(down)) as http:
        answer = http.get("/v1/parcels/late/K7/1")
        assert answer.status_code == 503
        assert "Redis" in answer.json()["fix"]
        assert http.get("/readyz").status_code == 503
        assert "cannot be used" in http.get("/readyz").json()["store"]
        assert http.get("/healthz").json() == {"status": "ok"}


def test_readiness_follows_the_first_publication(http: httpx.Client, lmdb_cache: ServingCache) -> None:
    before = http.get("/readyz")
    assert (before.status_code, before.json()["ready"]) == (503, False)
    generation = publish_days(lmdb_cache, ONE)
    after = http.get("/readyz")
    assert (after.status_code, after.json()["ready"]) == (200, True)
    assert generation.id in after.json()["models"][MODEL]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"keys": []}, "body.keys"),
        ({"keys": ["x"] * (MOST_KEYS + 1)}, "body.keys"),
        ({"keys": ["x", ""]}, "body.keys.1"),
        ({"keys": "x"}, "body.keys"),
        ({"key": ["x"]}, "body"),
    ],
)
def test_a_malformed_request_is_422_and_says_where(
    http: httpx.Client, body: dict[str, object], where: str
) -> None:
    response = http.post("/v1/parcels/late", json=body)
    assert response.status_code == 422
    assert response.json()["where"].startswith(where)


def test_other_addresses_and_methods_are_explained(http: httpx.Client) -> None:
    assert http.get("/nowhere").json()["fix"] == "see /docs for the addresses"
    assert http.delete("/v1/parcels/late/x").status_code == 405


def test_the_token_is_asked_for_everywhere_but_at_healthz(
    lmdb_cache: ServingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_days(lmdb_cache, ONE)
    monkeypatch.setenv(TOKEN_VARIABLE, "let-me-in")
    with served(app_of(lmdb_cache)) as http:
        assert http.get("/healthz").status_code == 200
        for path in ("/v1/parcels/late/K7/1", "/readyz", "/metrics", "/docs", "/openapi.json", "/nowhere"):
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "let-me-in"}):
                refused = http.get(path, headers=headers)
                assert refused.status_code == 401, path
                assert refused.headers["WWW-Authenticate"] == "Bearer"
                assert "let-me-in" not in refused.text
        allowed = http.get("/v1/parcels/late/K7/1", headers={"Authorization": "Bearer let-me-in"})
        assert allowed.status_code == 200


def test_a_request_addressed_to_another_host_is_refused(http: httpx.Client) -> None:
    assert http.get("/healthz", headers={"Host": "rebound.example"}).status_code == 400
    assert http.get("/healthz", headers={"Host": "localhost:1"}).status_code == 200


def test_metrics_count_requests_keys_and_the_generations_age(
    http: httpx.Client, lmdb_cache: ServingCache
) -> None:
    generation = publish_days(lmdb_cache, ONE)
    http.get("/v1/parcels/late/K7/1")
    http.get("/v1/parcels/late/K7/secret-key")
    http.post("/v1/parcels/late", json={"keys": ["K7/1", "nobody"]})
    text = http.get("/metrics").text
    one = 'ml_platform_serving_requests_total{method="GET",route="/v1/{use_case}/{path}",status='
    assert one.replace("{path}", "{path:path}") + '"200"} 1.0' in text
    assert one.replace("{path}", "{path:path}") + '"404"} 1.0' in text
    assert f'ml_platform_serving_keys_total{{model="{MODEL}",outcome="found"}} 2.0' in text
    assert f'ml_platform_serving_keys_total{{model="{MODEL}",outcome="missing"}} 2.0' in text
    assert f'ml_platform_serving_generation_age_seconds{{model="{MODEL}"}} 10800.0' in text
    assert f'generation="{generation.id}"' in text
    assert "ml_platform_serving_request_seconds_bucket" in text
    assert "secret-key" not in text


def test_metrics_are_there_before_anything_is_published(http: httpx.Client) -> None:
    assert f'ml_platform_serving_up{{model="{MODEL}"}} 0.0' in http.get("/metrics").text


def test_openapi_has_examples_and_the_page_needs_no_other_host(http: httpx.Client) -> None:
    schema = http.get("/openapi.json").json()
    assert "example" in schema["components"]["schemas"]["PredictionAnswer"]
    assert "503" in schema["paths"]["/v1/{use_case}/{path}"]["get"]["responses"]
    page = http.get("/docs").text
    assert "will be late" in page
    assert "<script" not in page
    assert "//" not in page.replace("<!doctype", "")


def test_every_answer_is_whole_while_generations_flip(http: httpx.Client, lmdb_cache: ServingCache) -> None:
    publish_days(lmdb_cache, ONE, TWO, chance=0.0)
    stop = threading.Event()

    def flip() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            publish_days(lmdb_cache, ONE, TWO, chance=0.5 * (turn % 2))
            lmdb_cache.prune(MODEL, [])

    thread = threading.Thread(target=flip)
    thread.start()
    seen: set[tuple[float, ...]] = set()
    asked, deadline = 0, time.monotonic() + 60
    try:
        # On a machine with other work, many requests may go by between two flips.
        while (asked < 60 or len(seen) < 2) and time.monotonic() < deadline:
            asked += 1
            response = http.post("/v1/parcels/late", json={"keys": [f"{ONE}/K7/1", f"{TWO}/K7/1"]})
            assert response.status_code == 200, response.text
            seen.add(tuple(row["prediction"]["probability"] for row in response.json()["answers"]))
    finally:
        stop.set()
        thread.join()
    assert seen == {(0.0, 0.0), (0.5, 0.5)}


def test_the_service_listens_on_loopback_only_and_stops_when_interrupted(lmdb_url: str) -> None:
    port = free_port()
    code = (
        "import sys\n"
        "from ml_platform.serving.cache import open_cache\n"
        "from ml_platform.serving.client import PredictionClient\n"
        "from ml_platform.serving.http import create_app, run\n"
        "client = PredictionClient(open_cache(sys.argv[1], readonly=True))\n"
        "run(create_app(client, {'parcels/late': ''}), int(sys.argv[2]))\n"
    )
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    server = subprocess.Popen([sys.executable, "-c", code, lmdb_url, str(port)], env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            for _ in range(400):
                with contextlib.suppress(httpx.ConnectError):
                    assert http.get("/healthz").status_code == 200
                    break
                time.sleep(0.05)
            assert http.get("/readyz").status_code == 503
        with socket.socket() as elsewhere, pytest.raises(ConnectionRefusedError):
            elsewhere.connect(("127.0.0.2", port))
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=20)
    assert server.returncode in {0, 130, -signal.SIGINT}


def test_a_port_that_is_taken_is_a_config_error(lmdb_cache: ServingCache) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="--port"):
            run(app_of(lmdb_cache), taken.getsockname()[1])
