"""Reports, charts and the catalogue as pages over HTTP, on loopback and for reading only."""

from __future__ import annotations

from html import escape
from typing import Protocol

from fastapi import FastAPI, Path, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from ml_platform.errors import NotFoundError, PlatformError
from ml_platform.serving.http import LOOPBACK

_DIGEST = r"^[0-9a-f]{64}$"
# Reports bring scripts of their own: they run, but reach neither the network nor this service.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; font-src data:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "sandbox allow-scripts allow-popups allow-top-navigation",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Shelf(Protocol):
    """Where pages come from; each raises ``NotFoundError`` for what it does not have."""

    def index(self) -> str:
        """The page that lists the others."""
        ...

    def catalogue(self, file: str) -> str:
        """A page of the catalogue, by the name of its file."""
        ...

    def readme(self, name: str) -> str:
        """The README of the platform (``platform``) or of a use case, as a page."""
        ...

    def page(self, digest: str) -> bytes:
        """A page that was published, by the digest of its bytes."""
        ...


def create_app(shelf: Shelf) -> FastAPI:
    """The service: ``/``, ``/catalogue/<file>``, ``/readme/<name>`` and ``/pages/<digest>``.

    Args:
        shelf: Where the pages come from.
    """
    app = FastAPI(title="Pages", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"])

    @app.get("/")
    def index() -> HTMLResponse:
        return HTMLResponse(shelf.index(), headers=_HEADERS)

    @app.get("/catalogue")
    def catalogue() -> RedirectResponse:
        return RedirectResponse("/catalogue/index.html", headers=_HEADERS)

    @app.get("/catalogue/{file}")
    def page_of_catalogue(file: str) -> HTMLResponse:
        return HTMLResponse(shelf.catalogue(file), headers=_HEADERS)

    @app.get("/readme/{name}")
    def readme(name: str) -> HTMLResponse:
        return HTMLResponse(shelf.readme(name), headers=_HEADERS)

    @app.get("/pages/{digest}")
    def page(digest: str = Path(pattern=_DIGEST)) -> HTMLResponse:
        # The bytes behind a digest never change.
        fresh = {"Cache-Control": "private, max-age=31536000, immutable"}
        return HTMLResponse(shelf.page(digest), headers=_HEADERS | fresh)

    @app.exception_handler(PlatformError)
    def explain(_request: Request, error: Exception) -> HTMLResponse:
        status = 404 if isinstance(error, NotFoundError) else 503
        return HTMLResponse(f"<pre>{escape(str(error))}</pre>", status_code=status, headers=_HEADERS)

    return app
