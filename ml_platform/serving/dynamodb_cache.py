"""A serving cache in one DynamoDB table with the string keys ``pk`` and ``sk``.

Items: ``segment#<id>`` / key is a prediction; ``header#<id>`` says that the segment is whole, with its
row count, and is written last; ``model#<model>`` holds manifests and the pointer. Publishing is one
transaction that stamps every header it lists; pruning drops a header only while its stamp is the one it
read, so that neither can undo what the other relies on.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import boto3
from boto3.dynamodb.conditions import Key
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ml_platform.errors import ConfigError, StoreError
from ml_platform.serving.cache import Health, Pair, Pruned, ServingCache, chunks, short_key
from ml_platform.serving.dynamodb_table import error_code, make_table
from ml_platform.serving.generations import Generation, droppable, parse_generation

_BATCH = 100
_ATTEMPTS = 6
_MOST_SEGMENTS = 97
"""A transaction has room for 100 items; three are the manifest, the pointer and the model's name."""

_MOST_KEY_BYTES = 1000
_HEADER, _POINTER, _GENERATION = "header", "current", "generation#"
_MODELS, _SEGMENTS = "models", "segments"
_OPTIONS = {"region", "endpoint", "create"}


class DynamoDbCache(ServingCache):
    """A cache in a table.

    Args:
        table: Its name.
        region: AWS region; the environment's where it is empty.
        endpoint: Address of another server that speaks DynamoDB; the environment's where it is empty.
        create: Make the table, billed per request, where it is missing.
    """

    def __init__(self, table: str, region: str = "", endpoint: str = "", *, create: bool = False) -> None:
        self.where = f"dynamodb://{table}"
        self._create = create
        with self._errors():
            resource = boto3.resource(
                "dynamodb",
                region_name=region or None,
                endpoint_url=endpoint or None,
                config=Config(retries={"max_attempts": 4, "mode": "standard"}, connect_timeout=3),
            )
            self._table = resource.Table(table)
        self._name = table

    @cached_property
    def _client(self) -> Any:
        # Clients are thread-safe, which resources are not.
        client = self._table.meta.client
        if self._create:
            make_table(client, self._name)
        return client

    @classmethod
    def open(cls, url: str) -> Self:
        """The cache of a ``dynamodb://table?region=…&endpoint=…&create=true``.

        Credentials come from the environment, as boto3 reads them.
        """
        parts = urlsplit(url)
        options = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if not parts.netloc or parts.path.strip("/") or "@" in parts.netloc or options.keys() - _OPTIONS:
            raise ConfigError(
                "the address of the DynamoDB table is malformed, or holds credentials",
                where="ML_PLATFORM_CACHE",
                fix="use dynamodb://table?region=eu-central-1, with the credentials in the environment",
            )
        create = options.get("create", "") == "true"
        return cls(parts.netloc, options.get("region", ""), options.get("endpoint", ""), create=create)

    def write_segment(self, segment_id: str, items: Iterable[tuple[str, bytes]]) -> int:
        """See :class:`ServingCache`."""
        pk, written = f"segment#{segment_id}", set()
        with self._errors():
            self._client.put_item(TableName=self._name, Item={"pk": _SEGMENTS, "sk": segment_id})
            with self._table.batch_writer() as batch:
                for key, value in items:
                    batch.put_item(Item={"pk": pk, "sk": _sort_key(key), "v": value})
                    written.add(_sort_key(key))
            self._delete_rows(pk, but=written)
            header = {"pk": f"header#{segment_id}", "sk": _HEADER, "rows": len(written), "stamp": uuid4().hex}
            self._client.put_item(TableName=self._name, Item=header)
        return len(written)

    def segment_rows(self, segment_id: str) -> int | None:
        """See :class:`ServingCache`."""
        header = self._get(f"header#{segment_id}", _HEADER)
        return None if header is None else int(header["rows"])

    def count(self, segment_id: str) -> int:
        """See :class:`ServingCache`."""
        with self._errors():
            return sum(page["Count"] for page in self._pages(f"segment#{segment_id}", Select="COUNT"))

    def read(self, pairs: Sequence[Pair]) -> list[bytes | None]:
        """See :class:`ServingCache`; one request per hundred keys."""
        wanted = [(f"segment#{segment_id}", _sort_key(key)) for segment_id, key in pairs]
        found: dict[tuple[str, str], bytes] = {}
        with self._errors():
            for chunk in chunks(dict.fromkeys(name for name in wanted if name[1]), _BATCH):
                for item in self._batch_get(chunk):
                    found[item["pk"], item["sk"]] = bytes(item["v"])
        return [found.get(name) for name in wanted]

    def neighbours(self, segment_id: str, key: str, limit: int = 3) -> list[str]:
        """See :class:`ServingCache`."""
        pk = f"segment#{segment_id}"
        for condition in (Key("pk").eq(pk) & Key("sk").gte(_sort_key(key) or " "), Key("pk").eq(pk)):
            with self._errors():
                page = self._client.query(
                    TableName=self._name,
                    KeyConditionExpression=condition,
                    ProjectionExpression="sk",
                    Limit=limit,
                )
            if names := [item["sk"] for item in page["Items"] if not item["sk"].startswith("#")]:
                return names
        return []

    def publish(self, model_key: str, generation: Generation) -> None:
        """See :class:`ServingCache`."""
        if len(generation.segments) > _MOST_SEGMENTS:
            raise ConfigError(
                f"DynamoDB publishes at most {_MOST_SEGMENTS} segments in one step",
                where=f"{model_key}, serving.segments",
                fix="serve fewer partitions, or use LMDB or Redis",
            )
        self._require(generation.segments)
        stamps = [self._stamp(s.segment_id, s.rows) for s in generation.segments]
        model = f"model#{model_key}"
        manifest = {"pk": model, "sk": _GENERATION + generation.id, "v": generation.to_json().encode()}
        puts = [
            manifest,
            {"pk": _MODELS, "sk": model_key},
            {"pk": model, "sk": _POINTER, "id": generation.id},
        ]
        with self._errors():
            try:
                self._client.transact_write_items(
                    TransactItems=stamps + [{"Put": {"TableName": self._name, "Item": item}} for item in puts]
                )
            except ClientError as error:
                # A segment went between the check and the transaction: name it.
                if error_code(error) == "TransactionCanceledException":
                    self._require(generation.segments)
                raise

    def current(self, model_key: str) -> str | None:
        """See :class:`ServingCache`."""
        item = self._get(f"model#{model_key}", _POINTER)
        return None if item is None else str(item["id"])

    def manifest(self, model_key: str, generation_id: str) -> bytes | None:
        """See :class:`ServingCache`."""
        item = self._get(f"model#{model_key}", _GENERATION + generation_id)
        return None if item is None else bytes(item["v"])

    def manifests(self, model_key: str) -> dict[str, bytes]:
        """See :class:`ServingCache`."""
        with self._errors():
            pages = self._pages(f"model#{model_key}")
            items = [i for page in pages for i in page["Items"] if i["sk"].startswith(_GENERATION)]
        return {item["sk"].removeprefix(_GENERATION): bytes(item["v"]) for item in items}

    def prune(self, model_key: str, keep: Collection[str]) -> Pruned:
        """See :class:`ServingCache`."""
        stamps = self._stamps_of(model_key)
        kept = {*keep, self.current(model_key) or ""}
        doomed, segments = droppable(self._generations(), model_key, kept)
        with self._errors():
            dropped = [g.id for g in doomed if self._drop_generation(model_key, g.id)]
            gone = [s for s in segments if self._drop_segment(s, stamps.get(s, ""))]
        return Pruned(tuple(dropped), tuple(gone))

    def sweep(self, keep: Collection[str] = ()) -> int:
        """See :class:`ServingCache`."""
        stored = self._generations().values()
        used = {s.segment_id for generations in stored for g in generations for s in g.segments}
        with self._errors():
            orphans = [s for s in self._sort_keys(_SEGMENTS) if s not in used and s not in keep]
            for segment_id in orphans:
                header = {"pk": f"header#{segment_id}", "sk": _HEADER}
                self._client.delete_item(TableName=self._name, Key=header)
                self._forget(segment_id)
        return len(orphans)

    def health(self) -> Health:
        """See :class:`ServingCache`."""
        with self._errors():
            table = self._client.describe_table(TableName=self._name)["Table"]
        return Health(
            "dynamodb", self.where, {"status": table["TableStatus"], "entries": int(table["ItemCount"])}
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _get(self, pk: str, sk: str) -> dict[str, Any] | None:
        with self._errors():
            answer = self._client.get_item(
                TableName=self._name, Key={"pk": pk, "sk": sk}, ConsistentRead=True
            )
        item: dict[str, Any] | None = answer.get("Item")
        return item

    def _batch_get(self, names: Sequence[tuple[str, str]]) -> Iterator[dict[str, Any]]:
        keys = [{"pk": pk, "sk": sk} for pk, sk in names]
        request = {self._name: {"Keys": keys, "ConsistentRead": True}}
        for attempt in range(_ATTEMPTS):
            answer = self._client.batch_get_item(RequestItems=request)
            yield from answer["Responses"].get(self._name, [])
            request = answer.get("UnprocessedKeys")
            if not request:
                return
            time.sleep(0.05 * 2**attempt)
        raise self._down("the table is throttled and left keys unread")

    def _pages(self, pk: str, **options: Any) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name, KeyConditionExpression=Key("pk").eq(pk), ConsistentRead=True, **options
        )
        yield from pages

    def _sort_keys(self, pk: str) -> list[str]:
        return [i["sk"] for page in self._pages(pk, ProjectionExpression="sk") for i in page["Items"]]

    def _generations(self) -> dict[str, list[Generation]]:
        with self._errors():
            models = self._sort_keys(_MODELS)
        return {
            model_key: [
                parse_generation(raw, f"{self.where}, {model_key}")
                for raw in self.manifests(model_key).values()
            ]
            for model_key in models
        }

    def _stamp(self, segment_id: str, rows: int) -> dict[str, Any]:
        return {
            "Update": {
                "TableName": self._name,
                "Key": {"pk": f"header#{segment_id}", "sk": _HEADER},
                "UpdateExpression": "SET stamp = :stamp",
                "ConditionExpression": "#rows = :rows",
                "ExpressionAttributeNames": {"#rows": "rows"},
                "ExpressionAttributeValues": {":stamp": uuid4().hex, ":rows": rows},
            }
        }

    def _stamps_of(self, model_key: str) -> dict[str, str]:
        """Stamps of all segments that the model's generations list."""
        stored = [parse_generation(raw, self.where) for raw in self.manifests(model_key).values()]
        names = {f"header#{s.segment_id}": s.segment_id for g in stored for s in g.segments}
        with self._errors():
            headers = [
                header
                for chunk in chunks(names, _BATCH)
                for header in self._batch_get([(name, _HEADER) for name in chunk])
            ]
        return {names[header["pk"]]: header["stamp"] for header in headers}

    def _drop_generation(self, model_key: str, generation_id: str) -> bool:
        model = f"model#{model_key}"
        not_published = {
            "TableName": self._name,
            "Key": {"pk": model, "sk": _POINTER},
            "ConditionExpression": "id <> :id",
            "ExpressionAttributeValues": {":id": generation_id},
        }
        manifest = {"TableName": self._name, "Key": {"pk": model, "sk": _GENERATION + generation_id}}
        try:
            self._client.transact_write_items(
                TransactItems=[{"ConditionCheck": not_published}, {"Delete": manifest}]
            )
        except ClientError as error:
            if error_code(error) != "TransactionCanceledException":
                raise
            return False
        return True

    def _drop_segment(self, segment_id: str, stamp: str) -> bool:
        try:
            self._client.delete_item(
                TableName=self._name,
                Key={"pk": f"header#{segment_id}", "sk": _HEADER},
                ConditionExpression="stamp = :stamp",
                ExpressionAttributeValues={":stamp": stamp},
            )
        except ClientError as error:
            if error_code(error) != "ConditionalCheckFailedException":
                raise
            return False
        self._forget(segment_id)
        return True

    def _forget(self, segment_id: str) -> None:
        self._delete_rows(f"segment#{segment_id}")
        self._client.delete_item(TableName=self._name, Key={"pk": _SEGMENTS, "sk": segment_id})

    def _delete_rows(self, pk: str, but: Collection[str] = ()) -> None:
        leftovers = [sk for sk in self._sort_keys(pk) if sk not in but]
        with self._table.batch_writer() as batch:
            for sk in leftovers:
                batch.delete_item(Key={"pk": pk, "sk": sk})

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            raise self._down(str(error)) from error

    def _down(self, why: str) -> StoreError:
        return StoreError(
            f"the serving cache cannot be used: {why}",
            where=self.where,
            fix="check region, endpoint, credentials, and the table (keys pk and sk; create=true makes it)",
        )


def _sort_key(key: str) -> str:
    return short_key(key, _MOST_KEY_BYTES).decode()
