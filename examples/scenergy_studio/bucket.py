"""A bucket, offline: moto's server, which can keep to itself what it has stored.

python -m examples.scenergy_studio.bucket PORT
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterable
from typing import Any

import boto3
import httpx
from botocore.config import Config
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import run_simple

from examples.trial import Trial, answers, free_port, wait_until


class Server:
    """S3; from `POST /hold` to `POST /release` uploads are stored, and their answers wait."""

    def __init__(self) -> None:
        self._s3 = DomainDispatcherApplication(create_backend_app)
        self._open = threading.Event()
        self._open.set()
        self._stored = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if method == "POST" and path in ("/hold", "/release"):
            (self._open.clear if path == "/hold" else self._open.set)()
            start_response("200 OK", [("content-type", "text/plain")])
            return [str(self._stored).encode()]
        answer = list(self._s3(environ, start_response))
        if method == "PUT":
            self._stored += 1
            self._open.wait()
            self._stored -= 1
        return answer


class Bucket:
    """One on a server of our own."""

    def __init__(self, trial: Trial) -> None:
        port = str(free_port())
        trial.start("examples.scenergy_studio.bucket", port)
        self.url = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(self.url))
        self._s3 = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="made-up",
            aws_secret_access_key="made-up",
            config=Config(retries={"mode": "standard"}),
        )
        self._s3.create_bucket(Bucket="assets")
        everybody = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
        policy = {"Version": "2012-10-17", "Statement": [everybody | {"Resource": "*"}]}
        self._s3.put_bucket_policy(Bucket="assets", Policy=json.dumps(policy))

    @property
    def env(self) -> dict[str, str]:
        """How workers find it."""
        return {
            "R2_ENDPOINT": self.url,
            "R2_BUCKET_NAME": "assets",
            "R2_PUBLIC_URL": f"{self.url}/assets",
            "R2_ACCESS_KEY_ID": "made-up",
            "R2_SECRET_ACCESS_KEY": "made-up",
        }

    def hold(self) -> int:
        """Answer no upload any more; how many wait already."""
        return int(httpx.post(f"{self.url}/hold").text)

    def release(self) -> None:
        httpx.post(f"{self.url}/release")

    def urls(self) -> set[str]:
        """Where its objects are."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket="assets")
        keys = (found["Key"] for page in pages for found in page.get("Contents", ()))
        return {f"{self.env['R2_PUBLIC_URL']}/{key}" for key in keys}


if __name__ == "__main__":
    run_simple(
        "127.0.0.1",
        int(sys.argv[1]),
        Server(),
        threaded=True,
        request_handler=MotoRequestHandler,
    )
