"""What ``ml-platform pages`` shows: an index, the catalogue, READMEs, and the pages that were published."""

from __future__ import annotations

import base64
import re
from html import escape
from pathlib import Path

from markdown_it import MarkdownIt

from ml_platform.config import project_root
from ml_platform.diagnosis.page import document
from ml_platform.errors import NotFoundError
from ml_platform.lifecycle.catalogue_pages import catalogue_of
from ml_platform.lifecycle.pages import PageKind, page, published
from ml_platform.lifecycle.platform import PLATFORM, README, Platform

_TITLES: dict[PageKind, str] = {
    "chart": "The model over time, with verdicts and actions",
    "diagnosis": "Diagnosis",
    "evidently": "Drift by Evidently",
}
_MOST_LISTED = 10


class PlatformShelf:
    """All pages of an installation, for the service that shows them."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def index(self) -> str:
        """The newest pages of each model, and where else to look."""
        platform = self._platform
        body = ["<h1>Pages</h1>", "<p>" + " · ".join(self._links()) + "</p>"]
        for target in platform.targets():
            body.append(f"<h2>{escape(target.model.title or target.key)} ({escape(target.key)})</h2>")
            pages = published(platform, target)
            for kind, title in _TITLES.items():
                shown = [p for p in pages if p.kind == kind][:_MOST_LISTED]
                links = [f'<a href="/pages/{p.digest}">{escape(p.partition)}</a>' for p in shown]
                body.append(f"<p>{title}: {', '.join(links) or 'none yet'}</p>")
        return document("Pages", body)

    def catalogue(self, file: str) -> str:
        """A page of the catalogue.

        Raises:
            NotFoundError: It has no such page.
        """
        pages = catalogue_of(self._platform)
        if file not in pages:
            raise NotFoundError("the catalogue has no such page", where=file, fix="open /catalogue")
        return pages[file]

    def readme(self, name: str) -> str:
        """A README, rendered.

        Raises:
            NotFoundError: There is no such use case, or it has no README.
        """
        folder = project_root() if name == PLATFORM else self._platform.use_case(name).folder
        file = folder / README
        if not file.is_file():
            raise NotFoundError(f"{name} has no README", where=str(file), fix="write one")
        html = MarkdownIt("commonmark").enable("table").render(file.read_text(encoding="utf-8"))
        return document(name, [_with_images(html, folder)])

    def page(self, digest: str) -> bytes:
        """A page that was published."""
        return page(self._platform, digest)

    def _links(self) -> list[str]:
        told = [n for n, u in self._platform.use_cases.items() if (u.folder / README).is_file()]
        readmes = [f'<a href="/readme/{escape(n)}">README of {escape(n)}</a>' for n in (PLATFORM, *told)]
        mlflow = f'<a href="{escape(self._platform.mlflow_url)}">MLflow</a>'
        if not self._platform.mlflow_is_served:
            mlflow += " (after <code>ml-platform mlflow</code>, which starts it)"
        return ['<a href="/catalogue">catalogue</a>', *readmes, mlflow]


def _with_images(html: str, folder: Path) -> str:
    """The same HTML with the PNG files below a folder inside it: the page asks for nothing else."""

    def embed(match: re.Match[str]) -> str:
        file = (folder / match["path"]).resolve()
        if not file.is_relative_to(folder.resolve()) or not file.is_file():
            return match[0]
        return f'src="data:image/png;base64,{base64.b64encode(file.read_bytes()).decode("ascii")}"'

    return re.sub(r'src="(?P<path>[^":]+\.png)"', embed, html)
