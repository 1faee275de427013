"""Where tests keep artifacts: a folder, and a bucket behind a real HTTP server."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from attrs import frozen
from moto.server import ThreadedMotoServer

from jobq.artifacts import FileStorage, S3Storage

KEYS = {"access_key_id": "testing-id", "secret_access_key": "testing-secret"}
PNG = b"\x89PNG\r\n\x1a\n" + b"a red door"
_numbers = itertools.count(1)


class Place(Protocol):
    """A storage, and what is really in it."""

    storage: Any

    def keys(self) -> list[str]: ...
    def content(self, key: str) -> bytes: ...


@frozen
class Folder:
    """A folder of this machine."""

    storage: FileStorage

    def keys(self) -> list[str]:
        files = (path for path in self.storage.folder.rglob("*") if path.is_file())
        return sorted(str(path.relative_to(self.storage.folder)) for path in files)

    def content(self, key: str) -> bytes:
        return (self.storage.folder / key).read_bytes()


@frozen
class Bucket:
    """A bucket of its own on the server."""

    storage: S3Storage

    @property
    def client(self) -> Any:
        return self.storage._client

    def keys(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket=self.storage.bucket)
        return sorted(one["Key"] for one in found.get("Contents", ()))

    def head(self, key: str) -> dict[str, Any]:
        return dict(self.client.head_object(Bucket=self.storage.bucket, Key=key))

    def content(self, key: str) -> bytes:
        found = self.client.get_object(Bucket=self.storage.bucket, Key=key)
        with found["Body"] as body:
            return bytes(body.read())


def a_folder(path: Path, **options: Any) -> Folder:
    return Folder(FileStorage(path / "artifacts", **options))


def a_bucket(endpoint: str, **options: Any) -> Bucket:
    """A new bucket, as one of R2 is reached."""
    bucket = f"jobq-{next(_numbers)}"
    client = _client_of(endpoint)
    where = {"LocationConstraint": "auto"}
    client.create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    return Bucket(S3Storage(bucket, client=client, **options))


@cache
def _client_of(endpoint: str) -> Any:
    """The client that a storage makes for itself; each takes some time to be made."""
    return S3Storage("any", endpoint=endpoint, region="auto", **KEYS)._client


@contextmanager
def s3_server() -> Iterator[str]:
    """A server that speaks S3, on a socket of its own; its address."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
