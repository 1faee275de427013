"""Exceptions with the shapes of those that real SDKs raise, made by hand."""

from __future__ import annotations

import types
from email.message import Message
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError

from jobq._classify.failure import FailureKind

K = FailureKind
NOW = 1_793_606_400.0  # Mon, 02 Nov 2026 08:00:00 GMT
DATE = "Mon, 02 Nov 2026 08:00:00 GMT"
A_MINUTE_LATER = "Mon, 02 Nov 2026 08:01:00 GMT"


def shape(name: str, *bases: type, module: str = "sdk", **attributes: Any) -> Exception:
    """An exception of a class with this name, carrying these attributes."""
    kind = type(name, bases or (Exception,), {"__module__": module})
    error = kind("it failed")
    for key, value in attributes.items():
        setattr(error, key, value)
    return error


def response(status: int, body: bytes = b"", **headers: str) -> Any:
    """What httpx keeps of an answer."""
    named = {name.replace("_", "-").title(): value for name, value in headers.items()}
    return types.SimpleNamespace(status_code=status, headers=named, _content=body)


def openai(
    status: int, code: str | None, type: str = "requests", message: str = "", **headers: str
):
    body = {"message": message, "type": type, "param": None, "code": code}
    return shape(
        "APIStatusError",
        status_code=status,
        code=code,
        type=type,
        message=f"Error code: {status} - {message}",
        body=body,
        response=response(status, **headers),
    )


def anthropic(status: int, type: str, error_code: str | None = None, **headers: str):
    error: dict[str, Any] = {"type": type, "message": "Refused."}
    if error_code:
        error["details"] = {"error_code": error_code}
    return shape(
        "APIStatusError",
        status_code=status,
        type=type,
        error_code=error_code,
        body={"type": "error", "error": error},
        response=response(status, **headers),
    )


def gemini(status: int, name: str, message: str = "", *details: dict[str, Any], listed=False):
    error = {"code": status, "status": name, "message": message, "details": list(details)}
    return shape(
        "ClientError",
        code=status,
        status=name,
        message=message,
        details=[{"error": error}] if listed else {"error": error},
        response=response(status),
    )


def quota(*ids: str, **more: Any) -> dict[str, Any]:
    violations = [{"quotaId": one, **more} for one in ids]
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations}


def retry_info(delay: Any) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def error_info(reason: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}


def fal(status: int, detail: Any = "It failed.", error_type: str | None = None, **headers: str):
    return shape(
        "FalClientHTTPError",
        status_code=status,
        message=detail,
        error_type=error_type,
        response_headers={name.replace("_", "-"): value for name, value in headers.items()},
        response=response(status),
    )


def replicate(status: int, detail: str):
    return shape("ReplicateError", status=status, detail=detail, type=None, title=None)


def botocore(status: int, code: str):
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": {"x-amz-request-id": "1"}}
    body = {"Error": {"Code": code, "Message": "Refused."}, "ResponseMetadata": metadata}
    return shape("ClientError", response=body, operation_name="PutObject")


def httpx(status: int, body: bytes = b"", **headers: str):
    return shape("HTTPStatusError", response=response(status, body, **headers))


def aiohttp(status: int, **headers: str):
    return shape("ClientResponseError", status=status, message="Refused", headers=headers)


def urllib(status: int, **headers: str):
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return HTTPError("http://provider", status, "Refused", message, None)


class Grpc(Exception):
    def __init__(self, name: str, details: str = "") -> None:
        super().__init__()
        self._name = name
        self._details = details

    def code(self) -> Any:
        return types.SimpleNamespace(name=self._name, value=(8, "…"))

    def details(self) -> str:
        return self._details


def google_api_core(status: HTTPStatus, *details: Any):
    return shape("ResourceExhausted", code=status, message="Refused", details=list(details))


def protobuf(text: str) -> Any:
    kind = type("RetryInfo", (), {"__module__": "google.rpc.pb2", "__str__": lambda _: text})
    return kind()


def raised(outer: BaseException, cause: BaseException | None = None, **more: Any) -> BaseException:
    """`outer`, with what it was raised from, or what was being handled."""
    outer.__cause__ = cause
    outer.__context__ = more.get("context")
    outer.__suppress_context__ = cause is not None or more.get("suppressed", False)
    return outer


def busy(**headers: str) -> Exception:
    return openai(429, "rate_limit_exceeded", **headers)
