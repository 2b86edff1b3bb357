"""The pages' service through a real server on loopback: what is published is shown, and nothing else."""

from collections.abc import Iterator

import httpx
import pytest

from ml_platform.errors import NotFoundError, StoreError
from ml_platform.serving.pages import create_app

from .loopback import served

DIGEST = "a" * 64


class Few:
    """A shelf with one page, whose catalogue's store is down."""

    def index(self) -> str:
        return "<h1>all</h1>"

    def catalogue(self, file: str) -> str:
        if file != "index.html":
            return f"<h1>{file}</h1>"
        raise StoreError("the ledger cannot be used", where="<db>", fix="start it")

    def readme(self, name: str) -> str:
        if name != "parcels":
            raise NotFoundError("there is no use case", where=name)
        return "<h1>Parcels</h1>"

    def page(self, digest: str) -> bytes:
        if digest != DIGEST:
            raise NotFoundError("the ledger names no page with this digest", where=digest)
        return b"<script>1</script>"


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with served(create_app(Few())) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "text"),
    [("/", "all"), ("/readme/parcels", "Parcels"), (f"/pages/{DIGEST}", "<script>1</script>")],
)
def test_pages_are_html_that_reaches_nothing_else(http: httpx.Client, path: str, text: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 200 and text in answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "sandbox" in policy and "allow-same-origin" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        f"/pages/{'b' * 64}",
        "/readme/nothing",
        "/readme/../../etc/passwd",
        "/readme/..%2f..%2fetc%2fpasswd",
        "/pages/../../../etc/passwd",
        "/pages/..%2f..%2f..%2fetc%2fpasswd",
        "/etc/passwd",
        "/docs",
        "/openapi.json",
    ],
)
def test_nothing_else_is_there(http: httpx.Client, path: str) -> None:
    # httpx would tidy the dots away before it asks.
    answer = http.send(
        httpx.Request(
            "GET", httpx.URL(str(http.base_url).rstrip("/") + path), extensions={"target": path.encode()}
        )
    )
    assert answer.status_code == 404 and "root:" not in answer.text


@pytest.mark.parametrize("digest", ["A" * 64, "a" * 63, "zz", DIGEST + "/x"])
def test_a_digest_is_a_digest(http: httpx.Client, digest: str) -> None:
    assert http.get(f"/pages/{digest}").status_code in {404, 422}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_it_is_for_reading_only(http: httpx.Client, method: str) -> None:
    assert http.request(method, "/").status_code == 405


def test_a_store_that_is_down_is_told_as_text(http: httpx.Client) -> None:
    answer = http.get("/catalogue", follow_redirects=True)
    assert answer.status_code == 503 and "&lt;db&gt;" in answer.text and "start it" in answer.text


def test_each_page_of_the_catalogue_has_an_address(http: httpx.Client) -> None:
    assert http.get("/catalogue").headers["location"] == "/catalogue/index.html"
    assert http.get("/catalogue/feeds.html").text == "<h1>feeds.html</h1>"


def test_another_host_name_is_refused(http: httpx.Client) -> None:
    assert http.get("/", headers={"Host": "rebound.example"}).status_code == 400
