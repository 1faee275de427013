"""Procrastinate, with the concurrency that was its fastest."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.peers import script

TITLE = "Procrastinate"
PACKAGES = ("procrastinate", "psycopg[binary]")
SCRIPT = ""
STORE = "postgresql"
SLOW = True
NOOPS = 100
SETTINGS = "concurrency 100 (default 1), LISTEN on, finished jobs kept"
DONE = "SELECT NOT EXISTS (SELECT 1 FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))"


def make_app(connector: Any) -> Any:
    from procrastinate import App

    app = App(connector=connector)

    @app.task(name="perform", queue="jobs")
    async def perform(payload: script.Payload) -> None:
        script.tally.begin()
        if "seconds" in payload:
            await asyncio.sleep(payload["seconds"])
        script.tally.end()

    return app


def work(url: str, concurrency: int) -> None:
    from procrastinate import PsycopgConnector

    async def run() -> None:
        app = make_app(PsycopgConnector(conninfo=url, max_size=20))
        async with app.open_async():
            await app.run_worker_async(concurrency=concurrency)

    asyncio.run(run())


class Client:
    def __init__(self, url: str) -> None:
        from procrastinate import SyncPsycopgConnector

        self._app = make_app(SyncPsycopgConnector(conninfo=url))
        self._app.open()

    @property
    def _task(self) -> Any:
        return self._app.configure_task("perform", queue="jobs")

    def migrate(self) -> None:
        self._app.schema_manager.apply_schema()

    def enqueue(self, payload: script.Payload) -> None:
        self._task.defer(payload=payload)

    def enqueue_many(self, payloads: list[script.Payload]) -> None:
        self._task.batch_defer(*({"payload": payload} for payload in payloads))


if __name__ == "__main__":
    script.main(work, Client)
