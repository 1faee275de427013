"""What is asked of a video's operation after its start: how it stands, to end it, its file."""

from __future__ import annotations

from examples.fakegemini import made_up
from examples.fakegemini.calls import RefusedError
from examples.fakegemini.gemini import operation_body
from examples.fakegemini.ledger import Entry, Ledger
from examples.fakegemini.operations import Operation, Operations
from examples.fakegemini.outcomes import Outcome
from examples.fakegemini.routes import Found
from examples.fakegemini.wire import Request, Response


class Videos:
    """`GET` and `:cancel` of operations, `GET` of files. They are free, and count for no limit."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def answer(
        self, found: Found, request: Request, entry: Entry, ledger: Ledger, now: float
    ) -> Response:
        """The answer, with its line in the ledger.

        Raises:
            RefusedError: there is no such operation or file, or it is another project's.
        """
        operation = self._find(found, entry, now)
        response = self._respond(found, operation, request, now)
        ledger.finish(
            entry,
            outcome=Outcome.OK,
            status=response.status,
            operation=operation.name,
            finished=now,
        )
        return response

    def _find(self, found: Found, entry: Entry, now: float) -> Operation:
        if found.endpoint == "download":
            operation = self._operations.of_file(found.name)
            if operation and not operation.makes_video(now):
                operation = None
        else:
            operation = self._operations.get(found.name)
        if operation is None:
            raise RefusedError(Outcome.NOT_FOUND, f"{found.name} is not found.")
        if operation.project != entry.project:
            raise RefusedError(Outcome.FORBIDDEN, f"{found.name} is another project's.")
        return operation

    def _respond(
        self, found: Found, operation: Operation, request: Request, now: float
    ) -> Response:
        if found.endpoint == "download":
            return Response(200, made_up.mp4(found.name), {"Content-Type": "video/mp4"})
        if found.endpoint == "cancelOperation":
            self._operations.cancel(operation, now)
            return Response.of(200, {})
        base = f"http://{request.headers.get('host', 'localhost')}/v1beta"
        return Response.of(200, operation_body(operation, now, base))
