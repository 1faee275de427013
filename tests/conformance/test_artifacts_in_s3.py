"""A bucket behind a real HTTP server: what is sent to it, and what its failures come to."""

from __future__ import annotations

import io
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from attrs import frozen

import jobq
from jobq.artifacts import S3Storage, StorageError, StorageUnavailable, _s3, storage_of
from jobq.testing import drain
from tests.artifacts import KEYS, PNG, Bucket, a_bucket


@pytest.fixture
def bucket(endpoint: str) -> Bucket:
    return a_bucket(endpoint)


def put(storage: S3Storage, key: str = "ab/abc.png", content: bytes = PNG) -> None:
    storage.put(key, io.BytesIO(content), size=len(content), content_type="image/png")


Seen = tuple[str, str, dict[str, str]]


class Provider:
    """A server that gives the answers of `says` in turn, the last one for ever."""

    def __init__(self) -> None:
        self.says: list[tuple[int, str]] = [(200, "")]
        self.seen: list[Seen] = []

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        request.rfile.read(int(headers.get("content-length", 0)))
        self.seen.append((request.command, request.path, headers))
        status, code = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        body = b"" if status == 200 else f"<Error><Code>{code}</Code></Error>".encode()
        request.send_response(status)
        request.send_header("content-length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


@contextmanager
def served(provider: Provider) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            provider.answer(self)

        do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815  the names that it looks for

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def at(endpoint: str) -> S3Storage:
    return S3Storage("assets", endpoint=endpoint, region="auto", **KEYS)


@frozen
class Provided:
    """A storage, and the server that it asks."""

    provider: Provider
    storage: S3Storage


@pytest.fixture(scope="module")
def one_provider() -> Iterator[Provided]:
    provider = Provider()
    with served(provider) as url:
        yield Provided(provider, at(url))


@pytest.fixture
def provided(one_provider: Provided) -> Provided:
    """A storage whose client tries again by itself."""
    one_provider.provider.says, one_provider.provider.seen = [(200, "")], []
    return one_provider


@pytest.fixture(scope="module")
def one_impatient() -> Iterator[Provided]:
    provider = Provider()
    with served(provider) as url, pytest.MonkeyPatch.context() as patch:
        patch.setattr(_s3, "RETRIES", {"mode": "standard", "max_attempts": 1})
        storage = at(url)
        assert storage._client is not None
        yield Provided(provider, storage)


@pytest.fixture
def impatient(one_impatient: Provided) -> Provided:
    """A storage whose client does not try again by itself."""
    one_impatient.provider.says, one_impatient.provider.seen = [(200, "")], []
    return one_impatient


# --- what is sent -------------------------------------------------------------------------------


def test_an_object_has_its_type_and_may_be_kept_by_caches_for_ever(bucket: Bucket) -> None:
    put(bucket.storage)
    head = bucket.head("ab/abc.png")
    assert (head["ContentType"], head["ContentLength"]) == ("image/png", len(PNG))
    assert head["CacheControl"] == "public, max-age=31536000, immutable"


def test_an_upload_has_no_sums_that_r2_refuses_and_overwrites_nothing(provided: Provided) -> None:
    put(provided.storage)
    [(method, path, headers)] = provided.provider.seen
    assert (method, path) == ("PUT", "/assets/ab/abc.png")
    assert headers["if-none-match"] == "*"
    assert [name for name in headers if "checksum" in name or name == "x-amz-trailer"] == []
    assert headers["content-length"] == str(len(PNG))


def test_what_is_there_already_is_left_as_it_is(bucket: Bucket) -> None:
    put(bucket.storage)
    before = bucket.head("ab/abc.png")["LastModified"]
    put(bucket.storage, content=b"something else")
    assert bucket.content("ab/abc.png") == PNG
    assert bucket.head("ab/abc.png")["LastModified"] == before


@pytest.mark.parametrize(
    "refusal", [(501, "NotImplemented"), (409, "ConditionalRequestConflict")], ids=str
)
def test_where_conditions_are_unknown_it_is_sent_without(
    provided: Provided, refusal: tuple[int, str]
) -> None:
    provided.provider.says = [refusal, (200, "")]
    put(provided.storage)
    conditions = ["if-none-match" in headers for _, _, headers in provided.provider.seen]
    assert conditions[-2:] == [True, False]


def test_what_is_large_is_sent_in_parts(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_s3, "LARGE", 6 * 1024 * 1024)
    monkeypatch.setattr(_s3, "PART", 5 * 1024 * 1024)
    content = b"x" * (11 * 1024 * 1024)
    put(bucket.storage, content=content)
    assert bucket.content("ab/abc.png") == content
    assert bucket.head("ab/abc.png")["ETag"].endswith('-3"')
    assert bucket.head("ab/abc.png")["ContentType"] == "image/png"
    put(bucket.storage, content=content)  # it is there
    assert bucket.keys() == ["ab/abc.png"]


def test_a_part_of_an_object_can_be_read(bucket: Bucket) -> None:
    put(bucket.storage)
    assert bucket.storage.read("ab/abc.png", 1, 3) == b"PNG"
    assert bucket.storage.read("ab/abc.png", len(PNG) - 4, 100) == b"door"
    assert bucket.storage.read("ab/abc.png", 10_000, 10) == b""
    with pytest.raises(FileNotFoundError):
        bucket.storage.read("ab/other.png", 0, 10)


def test_deleting_what_is_not_there_is_no_error(bucket: Bucket) -> None:
    put(bucket.storage)
    for _ in range(2):
        bucket.storage.delete("ab/abc.png")
    assert bucket.keys() == []


def test_a_signed_address_can_be_read_by_anybody_and_a_public_one_is_below_its_base(
    bucket: Bucket, endpoint: str
) -> None:
    put(bucket.storage)
    url = bucket.storage.signed_url("ab/abc.png", seconds=3600)
    assert url is not None
    assert httpx.get(url).content == PNG
    assert "X-Amz-Expires=604800" in str(bucket.storage.signed_url("ab/abc.png", seconds=10**9))
    assert bucket.storage.public_url("ab/abc.png") is None
    public = a_bucket(endpoint, public_url="https://cdn.example.com/").storage
    assert public.public_url("ab/ü.png") == "https://cdn.example.com/ab/%C3%BC.png"


def test_r2_is_configured_by_the_names_of_its_users(endpoint: str) -> None:
    storage = storage_of(
        None,
        {
            "R2_ENDPOINT": endpoint,
            "R2_ACCESS_KEY_ID": KEYS["access_key_id"],
            "R2_SECRET_ACCESS_KEY": KEYS["secret_access_key"],
            "R2_BUCKET_NAME": "assets",
            "R2_PUBLIC_URL": "https://cdn.example.com",
        },
    )
    assert isinstance(storage, S3Storage)
    where = {"LocationConstraint": "auto"}
    storage._client.create_bucket(Bucket="assets", CreateBucketConfiguration=where)
    put(storage)
    assert storage.public_url("ab/abc.png") == "https://cdn.example.com/ab/abc.png"
    assert storage.read("ab/abc.png", 0, 100) == PNG


# --- what goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status, code",
    [(500, "InternalError"), (503, "SlowDown"), (429, "TooManyRequests"), (502, "BadGateway")],
)
def test_a_storage_that_has_trouble_may_be_asked_again(
    impatient: Provided, status: int, code: str
) -> None:
    impatient.provider.says = [(status, code)]
    with pytest.raises(StorageUnavailable, match=r"cannot store ab/abc.png in the bucket 'assets'"):
        put(impatient.storage)


def test_trouble_that_passes_is_not_even_noticed(provided: Provided) -> None:
    provided.provider.says = [(503, "SlowDown"), (200, "")]
    put(provided.storage)
    assert len(provided.provider.seen) == 2


def test_a_storage_that_does_not_answer_may_be_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_s3, "RETRIES", {"mode": "standard", "max_attempts": 1})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    storage = at(f"http://127.0.0.1:{port}")
    for call in (put, lambda s: s.read("a", 0, 1), lambda s: s.delete("a")):
        with pytest.raises(StorageUnavailable):
            call(storage)


@pytest.mark.parametrize(
    "status, code, advice",
    [
        (403, "AccessDenied", "let the key read, write and delete"),
        (403, "InvalidAccessKeyId", "the key id is not known"),
        (403, "SignatureDoesNotMatch", "secret half"),
        (404, "NoSuchBucket", "make the bucket"),
    ],
)
def test_a_refusal_says_what_to_do(
    impatient: Provided, status: int, code: str, advice: str
) -> None:
    impatient.provider.says = [(status, code)]
    with pytest.raises(StorageError, match=advice) as told:
        put(impatient.storage)
    assert not isinstance(told.value, StorageUnavailable)
    assert KEYS["secret_access_key"] not in str(told.value)


def saved_in(queue: jobq.Queue) -> jobq.Job:
    """A job that saves something, once it was run."""

    @queue.router.handler("paint", retry=jobq.Retry(max_attempts=5, backoff=jobq.Fixed(60)))
    async def paint(payload: dict[str, Any], job: jobq.JobContext) -> None:
        await job.save(PNG)

    job = queue.enqueue("paint", {})
    drain(queue)
    return queue.get(job)


def test_a_refusal_fails_the_job_at_once(
    impatient: Provided, sqlite: str, router: jobq.Router
) -> None:
    impatient.provider.says = [(403, "AccessDenied")]
    with jobq.Queue(sqlite, router=router, artifacts=impatient.storage) as queue:
        job = saved_in(queue)
    assert (job.status, job.error_code, job.attempts) == ("failed", "storage_refused", 1)


def test_a_job_is_tried_again_while_the_storage_is_down(
    impatient: Provided, sqlite: str, router: jobq.Router
) -> None:
    impatient.provider.says = [(503, "SlowDown")]
    with jobq.Queue(sqlite, router=router, artifacts=impatient.storage) as queue:
        job = saved_in(queue)
        [saved] = queue.artifacts(job)
    assert (job.status, job.error_code) == ("pending", "StorageUnavailable")
    assert saved.status == "uploading"


def test_without_a_key_it_says_which_variables_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    import botocore.credentials

    monkeypatch.setattr(
        botocore.credentials.CredentialResolver, "load_credentials", lambda self: None
    )
    with pytest.raises(StorageError, match="R2_ACCESS_KEY_ID"):
        put(S3Storage("assets", endpoint="http://127.0.0.1:9", region="auto"))


def test_without_boto3_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(jobq.ConfigurationError, match=r"pip install 'jobq\[s3\]'"):
        jobq.Queue("sqlite:///jobs.db", artifacts="s3://assets")


def test_a_client_of_ones_own_is_used(bucket: Bucket) -> None:
    own = S3Storage(bucket.storage.bucket, client=bucket.client, prefix="images/")
    put(own, "images/ab/abc.png")
    assert bucket.keys() == ["images/ab/abc.png"]
    assert repr(own) == f"S3Storage({bucket.storage.bucket!r})"


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: S3Storage("ab"), "3 to 63"),
        (lambda: S3Storage("Assets"), "3 to 63"),
        (lambda: S3Storage(None), "3 to 63"),  # type: ignore[arg-type]
        (lambda: S3Storage("assets", access_key_id="id"), "both halves"),
        (lambda: S3Storage("assets", public_url="cdn.example.com"), "base_url"),
        (lambda: S3Storage("assets", endpoint="r2.example.com"), "base_url"),
        (lambda: S3Storage("assets", prefix="../up"), "prefix"),
    ],
)
def test_bad_settings_are_refused_where_they_are_written(
    make: Callable[[], S3Storage], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        make()
