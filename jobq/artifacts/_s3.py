"""Artifacts in a bucket of S3, R2 or a service that speaks like them."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from jobq._errors import ConfigurationError, StorageError, StorageUnavailable
from jobq._masking import hide, mask
from jobq.artifacts._keys import checked_prefix
from jobq.artifacts._urls import base_url_of, below

LARGE = 64 * 1024 * 1024
"""Bytes above which something is sent in parts."""
PART = 16 * 1024 * 1024
CONNECTIONS = 32
RETRIES = {"mode": "standard", "max_attempts": 4}
LONGEST_SIGNED = 7 * 24 * 3600
FOR_EVER = "public, max-age=31536000, immutable"
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_THERE = ("PreconditionFailed", "412")
_NO_CONDITIONS = ("NotImplemented", "501", "ConditionalRequestConflict", "409")
_PASSING = ("SlowDown", "RequestTimeout", "RequestTimeTooSkewed", "InternalError", "Throttling")


class S3Storage:
    """A bucket of S3, R2, MinIO and others. Needs `jobq[s3]`.

    What is not given here (keys, region, endpoint) boto3 finds in its usual places.

    - `endpoint`: for others than AWS, as in `https://<account>.r2.cloudflarestorage.com`.
    - `public_url`: the address that the bucket's public reads begin with; without it reads are
      signed when they are asked for.
    - `prefix`: what all keys begin with, as in `images/`.
    - `client`: a boto3 client of your own, instead of all the rest.

    >>> storage = S3Storage("assets", public_url="https://cdn.example.com")  # doctest: +SKIP
    """

    def __init__(
        self,
        bucket: str,
        *,
        endpoint: str | None = None,
        region: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        public_url: str | None = None,
        prefix: str = "",
        client: Any = None,
    ) -> None:
        if not isinstance(bucket, str) or not _NAME.fullmatch(bucket):
            raise ConfigurationError(
                f"S3Storage: bucket={bucket!r:.100} must have 3 to 63 small letters, digits, - or ."
            )
        if (access_key_id is None) != (secret_access_key is None):
            raise ConfigurationError("S3Storage: give both halves of the key, or neither")
        _need_boto3()
        hide([secret_access_key])
        self.bucket = bucket
        self.prefix = checked_prefix(prefix)
        self._public_url = base_url_of(public_url)
        self._endpoint = None if endpoint is None else base_url_of(endpoint)
        self._given = {
            "region_name": region,
            "aws_access_key_id": access_key_id,
            "aws_secret_access_key": secret_access_key,
        }
        self._own = client
        self._made: tuple[int, Any] | None = None
        self._making = threading.Lock()

    def __repr__(self) -> str:
        return f"S3Storage({self.bucket!r})"

    def put(self, key: str, content: BinaryIO, *, size: int, content_type: str) -> None:
        """Send it, in parts where it is large; nothing where the key is there already."""
        described = {"ContentType": content_type, "CacheControl": FOR_EVER}
        with self._explained(f"cannot store {key}"):
            if size > LARGE:
                self._put_parts(key, content, described)
            else:
                self._put_whole(key, content, described)

    def _put_whole(self, key: str, content: BinaryIO, described: dict[str, str]) -> None:
        from botocore.exceptions import ClientError

        put = {"Bucket": self.bucket, "Key": key, "Body": content, **described}
        try:
            self._client.put_object(**put, IfNoneMatch="*")
        except ClientError as error:
            if _code(error) in _THERE:
                return
            if _code(error) not in _NO_CONDITIONS:
                raise
            content.seek(0)
            self._client.put_object(**put)  # the same bytes: to write them twice does no harm

    def _put_parts(self, key: str, content: BinaryIO, described: dict[str, str]) -> None:
        from boto3.s3.transfer import TransferConfig
        from botocore.exceptions import ClientError

        try:
            self._client.head_object(Bucket=self.bucket, Key=key)
            return
        except ClientError as error:
            if _status(error) not in (
                403,
                404,
            ):  # who may not list is told 403 for what is not there
                raise
        # One after the other: what is in memory stays a part, however many jobs save at once.
        parts = TransferConfig(
            multipart_threshold=LARGE, multipart_chunksize=PART, use_threads=False
        )
        self._client.upload_fileobj(content, self.bucket, key, ExtraArgs=described, Config=parts)

    def read(self, key: str, start: int, length: int) -> bytes:
        """Some of the bytes, fewer at the end. Raises `FileNotFoundError` where there are none."""
        from botocore.exceptions import ClientError

        wanted = f"bytes={start}-{start + length - 1}"
        with self._explained(f"cannot read {key}"):
            try:
                found = self._client.get_object(Bucket=self.bucket, Key=key, Range=wanted)
                with found["Body"] as body:
                    return bytes(body.read())
            except ClientError as error:
                if _status(error) == 416:
                    return b""
                if _code(error) in ("NoSuchKey", "404"):
                    raise FileNotFoundError(key) from None
                raise

    def delete(self, key: str) -> None:
        """Remove it, if it is there."""
        with self._explained(f"cannot delete {key}"):
            self._client.delete_object(Bucket=self.bucket, Key=key)

    def public_url(self, key: str) -> str | None:
        """The address below `public_url`."""
        return below(self._public_url, key)

    def signed_url(self, key: str, *, seconds: int) -> str | None:
        """An address that is good for so long, a week at most."""
        with self._explained(f"cannot sign {key}"):
            url: str = self._client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self.bucket, "Key": key},
                ExpiresIn=min(seconds, LONGEST_SIGNED),
            )
        return url

    @property
    def _client(self) -> Any:
        """One for each process: connections cannot be shared with a fork."""
        if self._own is not None:
            return self._own
        made = self._made
        if made is None or made[0] != os.getpid():
            with self._making:
                made = self._made
                if made is None or made[0] != os.getpid():
                    made = self._made = os.getpid(), self._connect()
        return made[1]

    def _connect(self) -> Any:
        import boto3
        from botocore.config import Config

        config = Config(
            signature_version="s3v4",
            # R2 and others refuse the sums that boto3 adds by itself.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries=RETRIES,
            connect_timeout=5,
            read_timeout=60,
            max_pool_connections=CONNECTIONS,
        )
        session = boto3.session.Session(**self._given)
        return session.client("s3", endpoint_url=self._endpoint, config=config)

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            passing = _status(error) >= 500 or _status(error) == 429 or _code(error) in _PASSING
            raise self._error(what, error, passing=passing) from error
        except BotoCoreError as error:
            raise self._error(what, error, passing=_is_passing(error)) from error

    def _error(self, what: str, error: Exception, *, passing: bool) -> StorageError:
        kind = StorageUnavailable if passing else StorageError
        return kind(f"{what} in the bucket {self.bucket!r}: {mask(str(error))}{_advice(error)}")


def _need_boto3() -> None:
    try:
        import boto3  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            f"artifacts in S3 or R2 need boto3: pip install 'jobq[s3]' ({error})"
        ) from error


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _is_passing(error: Exception) -> bool:
    """Whether a failure without an answer may not happen again."""
    from botocore import exceptions

    network = (
        exceptions.ConnectionError,
        exceptions.HTTPClientError,
        exceptions.IncompleteReadError,
        exceptions.ResponseStreamingError,
    )
    return isinstance(error, network)


_ADVICE = {
    "NoSuchBucket": "make the bucket, or give the name of one that there is",
    "AccessDenied": "let the key read, write and delete objects in this bucket",
    "InvalidAccessKeyId": "the key id is not known there: look at R2_ACCESS_KEY_ID or AWS_…",
    "SignatureDoesNotMatch": "the secret half of the key does not fit its id",
    "NoCredentialsError": "set R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY, or AWS_…",
}


def _advice(error: Any) -> str:
    name = _code(error) if hasattr(error, "response") else type(error).__name__
    return f"; {_ADVICE[name]}" if name in _ADVICE else ""
