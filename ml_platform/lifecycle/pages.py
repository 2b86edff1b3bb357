"""Pages that people read: published like every object, and linked by address from the UI."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from sqlalchemy import select

from ml_platform.errors import NotFoundError, StoreError
from ml_platform.lifecycle.platform import Platform, Target
from ml_platform.registry import promotions
from ml_platform.storage.ledger import NewPublication
from ml_platform.storage.tables import COMMITTED, Publication

PageKind = Literal["chart", "diagnosis", "evidently"]
KINDS: tuple[PageKind, ...] = get_args(PageKind)
_STAGE = "pages"


@dataclass(frozen=True)
class Page:
    """A published page: what it shows, of which partition, and the digest of its HTML."""

    kind: PageKind
    partition: str
    digest: str


def publish(
    platform: Platform, target: Target, kind: PageKind, partition: str, html: bytes, as_of: datetime
) -> str:
    """Keep a page in the lake and name it in the ledger; returns its digest."""
    digest, asset = platform.lake.put(html), _asset(target, kind)
    head = platform.ledger.head(asset, partition)
    if head is None or head.digest != digest:
        platform.ledger.publish([NewPublication(asset, partition, digest, 1)], as_of)
    return digest


def published(platform: Platform, target: Target) -> list[Page]:
    """A model's pages: by kind, the newest partition first."""
    return [
        Page(kind, key, head.digest)
        for kind in KINDS
        for key, head in reversed(platform.ledger.heads(_asset(target, kind)).items())
    ]


def address(platform: Platform, digest: str) -> str:
    """Where ``ml-platform pages`` shows a page."""
    return f"{platform.pages_url}/pages/{digest}"


def page(platform: Platform, digest: str) -> bytes:
    """A page's HTML; nothing of the lake but pages is shown.

    Raises:
        NotFoundError: The ledger names no page with this digest.
        IntegrityError: Its bytes are not those that were published.
    """
    assets = [_asset(target, kind) for target in platform.targets() for kind in KINDS]
    query = select(Publication.id).where(
        Publication.digest == digest, Publication.status == COMMITTED, Publication.asset.in_(assets)
    )
    with platform.ledger.begin() as session:
        known = session.scalars(query).first()
    if known is None:
        raise NotFoundError(
            "the ledger names no page with this digest", where=digest, fix="choose one from the index at /"
        )
    return platform.lake.get(digest)


def mlflow_address(platform: Platform, model_digest: str) -> str | None:
    """Where MLflow's UI shows the run of a model; ``None`` where there is no run, or MLflow is down."""
    run_id = promotions.model(platform.ledger, model_digest).mlflow_run_id
    if run_id is None:
        return None
    try:
        return platform.mlflow_url + platform.tracking.path_of(run_id)
    except StoreError:
        return None


def _asset(target: Target, kind: PageKind) -> str:
    return f"{target.asset(_STAGE)}/{kind}"
