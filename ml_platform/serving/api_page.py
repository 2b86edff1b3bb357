"""The service's documentation page: plain HTML from its OpenAPI description, without scripts.

The usual viewers load theirs from other hosts, which a service on loopback does not need.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#1f2933}"
    "pre{background:#f4f6f8;padding:.8rem;overflow:auto;border-radius:6px}code{font-size:.95em}"
    "h2{margin-top:2.2rem;font-size:1.1rem}b{color:#0b6e4f;margin-right:.6rem}"
)


def page(openapi: Mapping[str, Any]) -> str:
    """The page of an OpenAPI description."""
    title = escape(openapi["info"]["title"])
    body = "\n".join(_sections(openapi))
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style>"
        f"<h1>{title}</h1><p>{escape(openapi['info'].get('description', ''))}</p>"
        f"<p>Machine-readable: <a href=/openapi.json>openapi.json</a></p>{body}</html>"
    )


def _sections(openapi: Mapping[str, Any]) -> Iterator[str]:
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            yield f"<h2><b>{method.upper()}</b><code>{escape(path)}</code></h2>"
            yield f"<p>{escape(operation.get('summary', ''))}</p>"
            for parameter in operation.get("parameters", []):
                yield f"<p><code>{parameter['name']}</code>: {escape(parameter.get('description', ''))}</p>"
            yield from _example(openapi, "Body", operation.get("requestBody"))
            for status, answer in operation["responses"].items():
                yield from _example(openapi, f"Answer {status}", answer)


def _example(openapi: Mapping[str, Any], name: str, holder: Mapping[str, Any] | None) -> Iterator[str]:
    schema = (holder or {}).get("content", {}).get("application/json", {}).get("schema", {})
    model = openapi["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], {})
    if "example" in model:
        text = escape(json.dumps(model["example"], indent=2, ensure_ascii=False))
        yield f"<p>{escape(name)}</p><pre>{text}</pre>"
