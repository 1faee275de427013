"""Names, types, keys and settings of artifacts: decisions about values."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

import jobq
from jobq.artifacts import FileStorage, S3Storage, Storage, StorageError, storage_of
from jobq.artifacts._keys import checked_name, extension_of, key_of, sniffed, type_of
from tests.artifacts import PNG

R2 = {
    "R2_ACCESS_KEY_ID": "testing-id",
    "R2_SECRET_ACCESS_KEY": "testing-secret",
    "R2_ENDPOINT": "https://r2.example.com",
}


@pytest.mark.parametrize(
    "head, found",
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image/jpeg"),
        (b"GIF89a....", "image/gif"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x10\x00\x00\x00WAVEfmt ", "audio/wav"),
        (b"RIFF\x10\x00\x00\x00????", None),
        (b"\x00\x00\x00\x20ftypavif", "image/avif"),
        (b"\x00\x00\x00\x20ftypisom", "video/mp4"),
        (b"\x1aE\xdf\xa3....", "video/webm"),
        (b"%PDF-1.7", "application/pdf"),
        (b"a red door", None),
        (b"", None),
    ],
)
def test_a_type_is_known_by_its_first_bytes(head: bytes, found: str | None) -> None:
    assert sniffed(head) == found


@pytest.mark.parametrize(
    "head, said, name, found",
    [
        (PNG, "image/jpeg", "door.jpg", "image/png"),
        (b"a,b", "text/csv", None, "text/csv"),
        (b"a,b", None, "table.csv", "text/csv"),
        (b"a,b", None, None, "application/octet-stream"),
        (b"PK\x03\x04", None, "book.epub", "application/epub+zip"),
        (b"PK\x03\x04", None, None, "application/zip"),
    ],
)
def test_the_first_bytes_are_believed_more_than_what_is_said(
    head: bytes, said: str | None, name: str | None, found: str
) -> None:
    assert type_of(head, said, name) == found


def test_a_key_comes_from_the_content_alone() -> None:
    assert key_of("images/", "ab12", "image/jpeg") == "images/ab/ab12.jpg"
    assert key_of("", "ab12", "image/jpeg", apart="7") == "ab/ab12-7.jpg"
    assert [extension_of(t) for t in ("text/plain; charset=utf-8", "x/y", "image/webp")] == [
        "txt",
        "bin",
        "webp",
    ]


@pytest.mark.parametrize("name", ["a red door.png", "ü", "..png", "a..b", "x" * 200])
def test_a_name_may_be_any_part_of_a_path(name: str) -> None:
    assert checked_name(name) == name


# --- settings -----------------------------------------------------------------------------------


def test_without_a_word_it_is_a_folder() -> None:
    storage = storage_of(None, {})
    assert isinstance(storage, FileStorage)
    assert storage.folder == Path.cwd() / "artifacts"


@pytest.mark.parametrize(
    "environ, bucket, prefix, public",
    [
        ({**R2, "R2_BUCKET_NAME": "assets"}, "assets", "", None),
        ({**R2, "R2_BUCKET": "assets"}, "assets", "", None),
        (
            {**R2, "R2_BUCKET": "assets", "R2_PUBLIC_URL": "https://cdn.example.com"},
            "assets",
            "",
            "https://cdn.example.com/k",
        ),
        ({"S3_BUCKET": "assets"}, "assets", "", None),
        ({"JOBQ_ARTIFACTS": "s3://other/a/b/", **R2, "R2_BUCKET": "x-y"}, "other", "a/b/", None),
        (
            {"JOBQ_ARTIFACTS": "s3://assets", "JOBQ_ARTIFACTS_URL": "/media"},
            "assets",
            "",
            "/media/k",
        ),
    ],
)
def test_the_environment_names_a_bucket(
    environ: dict[str, str], bucket: str, prefix: str, public: str | None
) -> None:
    storage = storage_of(None, environ)
    assert isinstance(storage, S3Storage)
    found = (storage.bucket, storage.prefix, storage.public_url("k"))
    assert found == (bucket, prefix, public)


def test_an_account_of_r2_says_where_it_is() -> None:
    environ = {**R2, "R2_ACCOUNT_ID": "abc", "R2_ENDPOINT": "", "R2_BUCKET_NAME": "assets"}
    storage = storage_of(None, environ)
    assert isinstance(storage, S3Storage)
    assert storage._client.meta.endpoint_url == "https://abc.r2.cloudflarestorage.com"
    assert storage._client.meta.region_name == "auto"
    assert "testing-secret" not in repr(storage)


def test_the_environment_names_a_folder(tmp_path: Path) -> None:
    environ = {"JOBQ_ARTIFACTS": str(tmp_path), "JOBQ_ARTIFACTS_URL": "https://example.com/media"}
    storage = storage_of(None, environ)
    assert isinstance(storage, FileStorage)
    assert storage.public_url("ab/c d.png") == "https://example.com/media/ab/c%20d.png"


@pytest.mark.parametrize(
    "environ, said",
    [
        ({"R2_ENDPOINT": "https://r2.example.com"}, "set R2_BUCKET_NAME"),
        ({"R2_ACCOUNT_ID": "abc"}, "set R2_BUCKET_NAME"),
        ({"R2_BUCKET_NAME": "assets"}, "set R2_ENDPOINT or R2_ACCOUNT_ID"),
        ({**R2, "R2_BUCKET": "assets", "R2_SECRET_ACCESS_KEY": ""}, "R2_SECRET_ACCESS_KEY is not"),
        ({**R2, "R2_BUCKET": "assets", "R2_ACCESS_KEY_ID": ""}, "R2_ACCESS_KEY_ID is not"),
        ({**R2, "R2_BUCKET": "assets", "R2_PUBLIC_URL": "cdn"}, "base_url='cdn'"),
        ({"S3_BUCKET": "NO"}, "3 to 63"),
        ({"JOBQ_ARTIFACTS": "ftp://x"}, "must be a folder or s3://bucket"),
    ],
)
def test_half_a_configuration_is_no_folder_by_accident(environ: dict[str, str], said: str) -> None:
    with pytest.raises(jobq.ConfigurationError, match=said):
        storage_of(None, environ)


@pytest.mark.parametrize("given", [7, object(), "", b"folder", ["folder"]])
def test_a_queue_is_told_at_once_that_its_storage_is_none(given: Any) -> None:
    with pytest.raises(jobq.ConfigurationError, match=r"artifacts|folder"):
        jobq.Queue("sqlite:///jobs.db", artifacts=given)


def test_every_storage_satisfies_the_protocol(tmp_path: Path) -> None:
    assert isinstance(FileStorage(tmp_path), Storage)
    assert isinstance(S3Storage("assets"), Storage)
    assert not isinstance(object(), Storage)


# --- folders ------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["../jobs.db", "a/../../b", "/etc/passwd", "", "a\x00b", "."])
def test_no_key_leads_out_of_the_folder(tmp_path: Path, key: str) -> None:
    storage = FileStorage(tmp_path / "artifacts")
    (tmp_path / "jobs.db").write_bytes(PNG)
    for call in (
        lambda: storage.read(key, 0, 1),
        lambda: storage.delete(key),
        lambda: storage.put(key, io.BytesIO(PNG), size=len(PNG), content_type="image/png"),
    ):
        with pytest.raises(jobq.OptionError, match="is no key"):
            call()
    assert (tmp_path / "jobs.db").read_bytes() == PNG


class Torn(io.BytesIO):
    """A file that breaks off."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell():
            raise OSError(5, "Input/output error")
        return super().read(3)


@pytest.fixture(params=["nameless files", "other names"])
def storage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> FileStorage:
    """A folder on a system that has files without names, and on one that has none."""
    if request.param == "other names":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    return FileStorage(tmp_path)


def put(storage: FileStorage, content: io.BytesIO) -> None:
    storage.put("ab/c.png", content, size=len(PNG), content_type="image/png")


def test_a_file_is_there_whole_or_not_at_all(storage: FileStorage) -> None:
    with pytest.raises(jobq.StorageUnavailable, match=r"cannot store ab/c\.png"):
        put(storage, Torn(PNG))
    assert list((storage.folder / "ab").iterdir()) == []
    for content in (PNG, b"what is there already is left as it is"):
        put(storage, io.BytesIO(content))
    assert [path.read_bytes() for path in (storage.folder / "ab").iterdir()] == [PNG]


def test_two_may_write_the_same_at_once(storage: FileStorage) -> None:
    class Meeting(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if not self.tell():
                put(storage, io.BytesIO(PNG))  # another is faster
            return super().read(size)

    put(storage, Meeting(PNG))
    assert [path.read_bytes() for path in (storage.folder / "ab").iterdir()] == [PNG]


def test_what_a_dead_process_left_of_a_file_goes_with_it(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path)
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "c.png.0123456789ab.part").write_bytes(PNG[:4])
    (tmp_path / "ab" / "cd.png.0123456789ab.part").write_bytes(PNG[:4])
    storage.delete("ab/c.png")
    assert [path.name for path in (tmp_path / "ab").iterdir()] == ["cd.png.0123456789ab.part"]


def test_a_folder_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(jobq.ConfigurationError, match="is not a folder"):
        FileStorage(tmp_path / "file")
    storage = FileStorage(tmp_path / "file" / "below")
    with pytest.raises(StorageError, match="cannot store"):
        storage.put("ab/c.png", io.BytesIO(PNG), size=len(PNG), content_type="image/png")
