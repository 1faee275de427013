"""Where artifacts are kept, by what a queue is given or the environment says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, cast

from jobq._errors import ConfigurationError
from jobq.artifacts._artifact import Storage

FOLDER = "artifacts"
_BUCKETS = ("R2_BUCKET_NAME", "R2_BUCKET", "S3_BUCKET")
_PUBLIC = ("JOBQ_ARTIFACTS_URL", "R2_PUBLIC_URL")


def storage_of(given: Any, environ: Mapping[str, str] = os.environ) -> Storage:
    """The storage that was given, as one or as `folder` or `s3://bucket/prefix`.

    `None` is what the environment says, else the folder `artifacts`. Raises `ConfigurationError`.

    >>> storage_of("media/images")
    FileStorage('…/media/images')
    """
    if given is None:
        return _from_environment(environ)
    if isinstance(given, str | os.PathLike):
        return _by_address(given, environ)
    if not isinstance(given, Storage):
        raise ConfigurationError(
            f"artifacts={given!r:.100} must be a folder, 's3://bucket', or a storage: "
            f"FileStorage(…), S3Storage(…)"
        )
    return given


def _from_environment(environ: Mapping[str, str]) -> Storage:
    address = environ.get("JOBQ_ARTIFACTS")
    if address:
        return _by_address(address, environ)
    bucket = _first(environ, *_BUCKETS)
    if bucket:
        return _bucket(bucket, "", environ)
    if _first(environ, "R2_ENDPOINT", "R2_ACCOUNT_ID"):
        raise ConfigurationError(
            "R2 is configured, but no bucket: set R2_BUCKET_NAME, or JOBQ_ARTIFACTS to a folder"
        )
    return _by_address(FOLDER, environ)


def _by_address(given: str | os.PathLike[str], environ: Mapping[str, str]) -> Storage:
    scheme, _, rest = str(given).partition("://")
    if not rest:
        from jobq.artifacts._folder import FileStorage

        return cast("Storage", FileStorage(given, base_url=_first(environ, _PUBLIC[0])))
    if scheme not in ("s3", "r2"):
        raise ConfigurationError(f"artifacts={str(given)!r:.100} must be a folder or s3://bucket")
    bucket, _, prefix = rest.partition("/")
    return _bucket(bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else "", environ)


def _bucket(bucket: str, prefix: str, environ: Mapping[str, str]) -> Storage:
    from jobq.artifacts._s3 import S3Storage

    storage = S3Storage(
        bucket,
        prefix=prefix,
        public_url=_first(environ, *_PUBLIC),
        **_access(environ, names_r2=bool(_first(environ, "R2_BUCKET_NAME", "R2_BUCKET"))),
    )
    return cast("Storage", storage)


def _access(environ: Mapping[str, str], *, names_r2: bool) -> dict[str, Any]:
    """How to reach the bucket, where the environment says more than boto3 reads by itself."""
    endpoint, account = environ.get("R2_ENDPOINT"), environ.get("R2_ACCOUNT_ID")
    if not endpoint and account:
        endpoint = f"https://{account}.r2.cloudflarestorage.com"
    if not endpoint and names_r2:
        raise ConfigurationError(
            "a bucket of R2 is configured, but not where it is: set R2_ENDPOINT or R2_ACCOUNT_ID"
        )
    key, secret = environ.get("R2_ACCESS_KEY_ID"), environ.get("R2_SECRET_ACCESS_KEY")
    if bool(key) != bool(secret):
        missing = "R2_SECRET_ACCESS_KEY" if key else "R2_ACCESS_KEY_ID"
        raise ConfigurationError(f"{missing} is not set, and the other half of the key is")
    return {
        "endpoint": endpoint or None,
        "region": "auto" if endpoint else None,
        "access_key_id": key or None,
        "secret_access_key": secret or None,
    }


def _first(environ: Mapping[str, str], *names: str) -> str | None:
    return next((environ[name] for name in names if environ.get(name)), None)
