"""What jobs have saved: their addresses in results, and the bytes to whoever may see the job."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from jobq import _artifact_verbs as verbs
from jobq._steps import Aside
from jobq.http import reading
from jobq.http.messages import Request, Response, Stream, answer
from jobq.http.problems import Problem
from jobq.http.steps import Ask, Operation, Steps

if TYPE_CHECKING:
    from jobq._model import Job
    from jobq.artifacts import Artifact, Storage
    from jobq.http.api import JobsApi
    from jobq.http.operations import Call

PIECE = 256 * 1024
_MARK = "artifact:"
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_SHOWN_INLINE = re.compile(r"(image/(?!svg)|audio/|video/|text/plain\b|application/pdf$)")
SAFE = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "cache-control": "private, no-cache",
    "accept-ranges": "bytes",
}
"""What a handler saved may be anybody's: a browser shows it without running anything of it."""


# --- in results ---------------------------------------------------------------------------------


def shown(call: Call, jobs: Sequence[Job]) -> Steps[list[dict[str, Any]]]:
    """Jobs in JSON; where a result mentions an artifact of its job stands its address."""
    mentioning = [job.id for job in jobs if mentions(job.result)]
    shapes = [job.to_dict() for job in jobs]
    if mentioning:
        found = yield Ask(verbs.artifacts, mentioning)
        for job, shape in zip(jobs, shapes, strict=True):
            own = [one for one in found if one.job_id == job.id]
            if own:
                shape["result"] = _put(job.result, addresses(call, job, own))
    return shapes


def mentions(value: Any) -> bool:
    """Whether there is an artifact anywhere in a result."""
    if isinstance(value, str):
        return value.startswith(_MARK)
    return any(map(mentions, _members(value)))


def _members(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _put(value: Any, links: dict[str, str | None]) -> Any:
    """A result with addresses instead of references."""
    if isinstance(value, str):
        return links.get(value, value)
    if isinstance(value, dict):
        return {name: _put(one, links) for name, one in value.items()}
    return [_put(one, links) for one in value] if isinstance(value, list) else value


def addresses(call: Call, job: Job, own: Sequence[Artifact]) -> dict[str, str | None]:
    """Where the artifacts of a job may be read, by what stands for them in a result."""
    return {f"{_MARK}{one.id}": link(call, job, one, own) for one in own}


def link(call: Call, job: Job, one: Artifact, own: Iterable[Artifact]) -> str | None:
    """An artifact's address: the storage's, or the route of these."""
    if one.status != "stored" or one.url is not None:
        return one.url
    alone = sum(other.name == one.name and other.status == "stored" for other in own) == 1
    return f"{call.location(job)}/artifacts/{quote(one.name if alone else one.id, safe='')}"


# --- by themselves ------------------------------------------------------------------------------


def listing(call: Call) -> Operation:
    """What a job has saved."""
    job = yield from call.job()
    found = yield Ask(verbs.artifacts, [job.id])
    shapes = [one.to_dict() | {"url": link(call, job, one, found)} for one in found]
    return answer({"artifacts": shapes})


def download(call: Call) -> Operation:
    """The bytes of an artifact, or the way to them where the storage has an address for them."""
    job = yield from call.job()
    found = yield Ask(verbs.artifacts, [job.id])
    one = named(call.name, found)
    if one.url is not None:
        return Response(status=302, headers={"location": one.url, "cache-control": "no-store"})
    return (yield from content(call, one))


def named(name: str, found: Sequence[Artifact]) -> Artifact:
    """The artifact with this id or, of those with this name, the last one."""
    stored = [one for one in found if one.status == "stored"]
    fitting = [one for one in stored if one.id == name] or [
        one for one in stored if one.name == name
    ]
    if fitting:
        return fitting[-1]
    raise Problem(404, "not_found", f"the job has no artifact {name!r:.250}")


class Asked(Protocol):
    """Who asks for the bytes of an artifact."""

    @property
    def request(self) -> Request: ...
    @property
    def api(self) -> JobsApi: ...


def content(call: Asked, one: Artifact) -> Operation:
    """The bytes of an artifact, or those of them that were asked for."""
    etag = f'"{one.sha256}"'
    headers = SAFE | {"etag": etag, "content-disposition": disposition(one)}
    if reading.is_known(etag, call.request):
        return Response(status=304, headers=headers)
    storage = yield Aside(lambda: call.api.config.storage)
    sent = call.request.headers
    # What a client has of something else, that has had this name, is not to be continued.
    same = sent.get("if-range", etag) == etag
    start, end = wanted(sent.get("range") if same else None, one.bytes)
    try:  # at the first bytes it shows whether they are there
        yield Aside(partial(storage.read, one.key, start, 1))
    except FileNotFoundError:
        raise Problem(404, "not_found", f"the artifact {one.name!r} is gone") from None
    headers |= {"content-type": one.content_type, "content-length": str(end - start)}
    part = (start, end) != (0, one.bytes)
    if part:
        headers["content-range"] = f"bytes {start}-{end - 1}/{one.bytes}"
    return Stream(
        status=206 if part else 200, headers=headers, chunks=_pieces(storage, one.key, start, end)
    )


def _pieces(
    storage: Storage, key: str, start: int, end: int
) -> Generator[Aside | bytes, Any, None]:
    for at, size in _cuts(start, end):
        yield (yield Aside(partial(storage.read, key, at, size)))


def _cuts(start: int, end: int) -> Iterator[tuple[int, int]]:
    return ((at, min(PIECE, end - at)) for at in range(start, end, PIECE))


def wanted(header: str | None, size: int) -> tuple[int, int]:
    """Which bytes a `Range` header asks for, from and up to; all, where it is none known here."""
    asked = _RANGE.fullmatch((header or "").strip())
    first, last = ("", "") if asked is None else asked.groups()
    if first == last == "" or (first and last and int(first) > int(last)):
        return 0, size
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= end:
        raise Problem(
            416,
            "bad_range",
            f"there are {size} bytes",
            headers={"content-range": f"bytes */{size}"},
        )
    return start, end


def disposition(one: Artifact) -> str:
    """Shown where a browser can show it safely, else to be saved under its name."""
    how = "inline" if _SHOWN_INLINE.match(one.content_type) else "attachment"
    return f"{how}; filename*=UTF-8''{quote(one.name, safe='')}"
