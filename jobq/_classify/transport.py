"""What it means that no answer came: by the names of exceptions, whatever library has them."""

from __future__ import annotations

import errno
import sys
from enum import Enum

from jobq._classify.chain import peek


class Transport(Enum):
    """How far a request came that got no answer."""

    UNSENT = "it never left"
    LOST = "it left, and its answer was lost"
    VAGUE = "a wrapper's word for either"


_NAMES = {
    Transport.UNSENT: (
        # httpx, httpcore
        "ConnectError ConnectTimeout PoolTimeout ProxyError "
        # aiohttp
        "ClientConnectorError ConnectionTimeoutError "
        # requests, urllib3, botocore
        "ConnectTimeoutError NewConnectionError NameResolutionError EmptyPoolError "
        "EndpointConnectionError ProxyConnectionError "
        # the standard library
        "ConnectionRefusedError gaierror herror SSLCertVerificationError "
    ),
    Transport.LOST: (
        # httpx, httpcore, h11, h2
        "ReadTimeout WriteTimeout ReadError WriteError CloseError RemoteProtocolError "
        # aiohttp
        "ServerDisconnectedError ClientPayloadError ClientConnectionResetError "
        "SocketTimeoutError HttpProcessingError "
        # requests, urllib3, botocore
        "ReadTimeoutError ChunkedEncodingError ProtocolError ConnectionClosedError "
        "ResponseStreamingError IncompleteReadError "
        # websockets
        "ConnectionClosed "
        # the standard library
        "ConnectionResetError ConnectionAbortedError BrokenPipeError RemoteDisconnected "
        "IncompleteRead BadStatusLine SSLEOFError SSLZeroReturnError "
    ),
    Transport.VAGUE: (
        "APIConnectionError APITimeoutError TransportError TimeoutException NetworkError "
        "ConnectionError Timeout TimeoutError ClientConnectionError ClientOSError SSLError "
    ),
}
_BY_NAME = {name: kind for kind, names in _NAMES.items() for name in names.split()}
_NOT_SENT_BY_MISTAKE = frozenset({"UnsupportedProtocol", "LocalProtocolError"})
_STANDARD = frozenset({"asyncio", "builtins", "http", "socket", "ssl", "urllib"})
_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})


def transport(exception: BaseException) -> Transport | None:
    """How far the request came; `None` if the exception isn't about a connection."""
    for kind in type(exception).__mro__:
        if kind.__name__ in _NOT_SENT_BY_MISTAKE:
            return None
        if kind.__name__ in _BY_NAME and not _elsewhere(kind):
            return _BY_NAME[kind.__name__]
    if isinstance(exception, OSError) and peek(exception, "errno") in _UNREACHABLE:
        return Transport.UNSENT
    return None


def _elsewhere(kind: type) -> bool:
    """Whether a name of the standard library is about something else, as `tarfile.ReadError`."""
    package = str(kind.__module__).partition(".")[0]
    return package in sys.stdlib_module_names and package not in _STANDARD
