"""The servers of customers, offline: they verify what they are told, and answer by script."""

from __future__ import annotations

from collections import defaultdict
from http.server import BaseHTTPRequestHandler

from standardwebhooks import Webhook

from examples.trial import Quiet, Served


class Customer(Served):
    """`POST /NAME` tells the customer of that name; `answers` are his next statuses, then 200."""

    def __init__(self, secret: str) -> None:
        self.answers: dict[str, list[int]] = defaultdict(list)
        self.told: dict[str, list[str]] = defaultdict(list)
        """The ids of the messages that each was sent."""
        self.acted_on: dict[str, dict[str, str]] = defaultdict(dict)
        """The jobs that each knows of, by the message's id."""
        customer, verifier = self, Webhook(secret)

        class Handler(Quiet, BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                message = verifier.verify(body, headers)  # raises: then there is no answer
                name, id = self.path.strip("/"), headers["webhook-id"]
                customer.acted_on[name][id] = message["data"]["id"]
                customer.told[name].append(id)
                self.send_response(customer.answers[name].pop(0) if customer.answers[name] else 200)
                self.send_header("content-length", "0")
                self.end_headers()

        super().__init__(Handler)
