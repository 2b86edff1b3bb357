"""The lake: immutable objects, named by the SHA-256 of their bytes, in a directory or in S3."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from ml_platform.errors import IntegrityError, NotFoundError, StoreError

_PARALLEL_TRANSFERS = 16


def digest_of(data: bytes) -> str:
    """The name of an object: the SHA-256 of its bytes in hex."""
    return hashlib.sha256(data).hexdigest()


class Lake(Protocol):
    """Immutable objects by digest. Reads verify the digest; writes are atomic and idempotent."""

    def put(self, data: bytes) -> str:
        """Store bytes and return their digest."""
        ...

    def put_many(self, items: Iterable[bytes]) -> list[str]:
        """Store several objects and return their digests in order."""
        ...

    def get(self, digest: str) -> bytes:
        """The bytes of an object, verified."""
        ...

    def path(self, digest: str) -> Path:
        """A local file with the object's bytes, verified when it was fetched."""
        ...

    def paths(self, digests: Iterable[str]) -> list[Path]:
        """Local files of several objects, in order."""
        ...

    def exists(self, digest: str) -> bool:
        """Whether the object is there."""
        ...

    def digests(self) -> Iterator[str]:
        """All objects, for the doctor."""
        ...

    def sweep(self) -> int:
        """Remove what a killed writer left half written; returns how many files."""
        ...


class LocalLake:
    """A lake in a local directory: ``objects/ab/<digest>``.

    Raises:
        StoreError: The directory cannot be written (rights, full disk).
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._objects = root / "objects"

    def put(self, data: bytes) -> str:
        """Write aside, flush, then rename, so that no reader sees half an object."""
        digest = digest_of(data)
        target = self._file(digest)
        if target.exists() and target.stat().st_size == len(data):
            return digest
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".writing-", dir=target.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).chmod(0o444)
                Path(name).replace(target)
            except BaseException:
                with contextlib.suppress(OSError):
                    Path(name).unlink()
                raise
        except OSError as error:
            raise StoreError(
                f"the lake cannot be written: {error.strerror or error}",
                where=str(target.parent),
                fix="free disk space or give this user the right to write there, then run again",
            ) from error
        return digest

    def put_many(self, items: Iterable[bytes]) -> list[str]:
        """Store several objects in parallel (the flush to disk is what takes long)."""
        with ThreadPoolExecutor(_PARALLEL_TRANSFERS) as pool:
            return list(pool.map(self.put, items))

    def get(self, digest: str) -> bytes:
        """Read and verify.

        Raises:
            NotFoundError: There is no such object.
            IntegrityError: Its bytes are not those that were written.
        """
        try:
            data = self._file(digest).read_bytes()
        except FileNotFoundError:
            raise _missing(digest, str(self.root)) from None
        except OSError as error:
            raise StoreError(
                f"the lake cannot be read: {error.strerror}",
                where=str(self.root),
                fix="check rights and disk",
            ) from error
        return _verified(digest, data, str(self._file(digest)))

    def path(self, digest: str) -> Path:
        """The object's own file."""
        file = self._file(digest)
        if not file.exists():
            raise _missing(digest, str(self.root))
        return file

    def paths(self, digests: Iterable[str]) -> list[Path]:
        """The objects' own files."""
        return [self.path(d) for d in digests]

    def exists(self, digest: str) -> bool:
        """Whether the object is there."""
        return self._file(digest).exists()

    def digests(self) -> Iterator[str]:
        """All objects."""
        for file in sorted(self._objects.glob("*/*")):
            if not file.name.startswith("."):
                yield file.name

    def sweep(self) -> int:
        """Remove files that a killed writer left."""
        leftovers = list(self._objects.glob("*/.writing-*"))
        for file in leftovers:
            file.unlink(missing_ok=True)
        return len(leftovers)

    def _file(self, digest: str) -> Path:
        return self._objects / digest[:2] / digest


def s3_client() -> Any:
    """A boto3 client; address and credentials come from the environment. Importing boto3 costs .3 CPU-s."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        config=Config(
            retries={"max_attempts": 4, "mode": "standard"},
            connect_timeout=5,
            max_pool_connections=_PARALLEL_TRANSFERS,
        ),
    )


class S3Lake:
    """A lake under an S3 prefix, with verified copies in a local cache (a :class:`LocalLake`).

    Address and credentials come from the environment as boto3 reads them, ``AWS_ENDPOINT_URL`` included.

    Raises:
        StoreError: The bucket cannot be reached or written.
    """

    def __init__(self, bucket: str, prefix: str, cache: LocalLake) -> None:
        self.bucket, self.prefix, self.cache = bucket, prefix.strip("/"), cache
        self._client: Any = None

    @property
    def client(self) -> Any:
        """The boto3 client, made at first use."""
        if self._client is None:
            self._client = s3_client()
        return self._client

    def put(self, data: bytes) -> str:
        """Upload once; S3 shows an object only when it is whole."""
        digest = digest_of(data)
        if self.cache.exists(digest) and self.exists(digest):
            return digest
        with self._errors("written"):
            self.client.put_object(Bucket=self.bucket, Key=self._key(digest), Body=data)
        self.cache.put(data)
        return digest

    def put_many(self, items: Iterable[bytes]) -> list[str]:
        """Upload several objects in parallel."""
        _ = self.client
        with ThreadPoolExecutor(_PARALLEL_TRANSFERS) as pool:
            return list(pool.map(self.put, items))

    def get(self, digest: str) -> bytes:
        """Read through the cache; a spoilt cache copy is fetched again."""
        if self.cache.exists(digest):
            try:
                return self.cache.get(digest)
            except IntegrityError:
                self.cache.path(digest).unlink()
        with self._errors("read", digest):
            data = self.client.get_object(Bucket=self.bucket, Key=self._key(digest))["Body"].read()
        self.cache.put(_verified(digest, data, f"s3://{self.bucket}/{self._key(digest)}"))
        return bytes(data)

    def path(self, digest: str) -> Path:
        """The cached copy, fetched when it is not there yet."""
        if not self.cache.exists(digest):
            self.get(digest)
        return self.cache.path(digest)

    def paths(self, digests: Iterable[str]) -> list[Path]:
        """The cached copies, fetched in parallel."""
        _ = self.client
        with ThreadPoolExecutor(_PARALLEL_TRANSFERS) as pool:
            return list(pool.map(self.path, digests))

    def exists(self, digest: str) -> bool:
        """Whether the bucket has the object."""
        from botocore.exceptions import ClientError

        try:
            with self._errors("read", digest):
                self.client.head_object(Bucket=self.bucket, Key=self._key(digest))
        except NotFoundError:
            return False
        except ClientError:
            return False
        return True

    def digests(self) -> Iterator[str]:
        """All objects under the prefix."""
        pages = self.client.get_paginator("list_objects_v2")
        with self._errors("listed"):
            for page in pages.paginate(Bucket=self.bucket, Prefix=f"{self.prefix}/objects/".lstrip("/")):
                for item in page.get("Contents", []):
                    yield item["Key"].rsplit("/", 1)[-1]

    def sweep(self) -> int:
        """Clean the local cache; S3 itself never keeps half an object."""
        return self.cache.sweep()

    def _key(self, digest: str) -> str:
        return f"{self.prefix}/objects/{digest[:2]}/{digest}".lstrip("/")

    @contextlib.contextmanager
    def _errors(self, doing: str, digest: str = "") -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if digest and code in {"NoSuchKey", "404"}:
                raise _missing(digest, f"s3://{self.bucket}/{self.prefix}") from None
            raise self._down(doing, str(error)) from error
        except BotoCoreError as error:
            raise self._down(doing, str(error)) from error

    def _down(self, doing: str, why: str) -> StoreError:
        return StoreError(
            f"the lake cannot be {doing}: {why}",
            where=f"s3://{self.bucket}/{self.prefix}",
            fix="check the bucket, AWS_ENDPOINT_URL and the AWS credentials in the environment",
        )


def open_lake(url: str, cache: Path) -> Lake:
    """A lake by its address.

    Args:
        url: A directory, or ``s3://bucket/prefix``.
        cache: Local folder for copies of S3 objects.

    Raises:
        StoreError: The address is of no known kind.
    """
    if url.startswith("s3://"):
        parts = urlsplit(url)
        return S3Lake(parts.netloc, parts.path, LocalLake(cache))
    if "://" in url and not url.startswith("file://"):
        raise StoreError(
            f"'{url}' is no address of a lake",
            where="ML_PLATFORM_LAKE",
            fix="use a directory or s3://bucket/prefix",
        )
    return LocalLake(Path(url.removeprefix("file://")))


def _missing(digest: str, where: str) -> NotFoundError:
    return NotFoundError(
        f"object {digest[:12]}… is not in the lake",
        where=where,
        fix="run `ml-platform doctor`; restore the object, or materialise its partition again",
    )


def _verified(digest: str, data: bytes, where: str) -> bytes:
    actual = digest_of(data)
    if actual != digest:
        raise IntegrityError(
            f"object {digest[:12]}… holds other bytes than were published (they hash to {actual[:12]}…)",
            where=where,
            fix="delete that file and materialise its partition again, or restore it from a copy",
        )
    return data
