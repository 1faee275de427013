"""Procrastinate: workers with heartbeats, and a periodic task that retries stalled jobs."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.rivals import job

TITLE = "Procrastinate"
PACKAGES = ("procrastinate", "psycopg[binary]")
STORES = ("PostgreSQL",)
SETTINGS = {
    "update_heartbeat_interval": "1 s (default 10 s)",
    "stalled_worker_timeout": "3 s (default 30 s)",
    "fetch_job_polling_interval": "1 s (default 5 s)",
    "periodic task for stalled jobs, as its documentation shows it": (
        "each 2 s (there each 10 min), seconds_since_heartbeat=3 (default 30)"
    ),
}
STATES = {"todo": "pending", "doing": "running", "succeeded": "completed", "aborted": "cancelled"}


def make_app(connector: Any) -> Any:
    from procrastinate import App

    app = App(connector=connector)

    @app.task(name="perform", queue="jobs")
    async def perform(payload: job.Payload) -> None:
        with job.performed(payload) as steps:
            for _ in range(steps):
                await asyncio.sleep(job.STEP)

    @app.periodic(cron="* * * * * */2")
    @app.task(name="retry_stalled", queueing_lock="retry_stalled", pass_context=True)
    async def retry_stalled(context: Any, timestamp: int) -> None:
        for stalled in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=3):
            await app.job_manager.retry_job(stalled)

    return app


def work(url: str) -> None:
    from procrastinate import PsycopgConnector

    async def run() -> None:
        app = make_app(PsycopgConnector(conninfo=url))
        async with app.open_async():
            await app.run_worker_async(
                concurrency=job.CONCURRENCY,
                update_heartbeat_interval=1.0,
                stalled_worker_timeout=3.0,
                fetch_job_polling_interval=1.0,
            )

    asyncio.run(run())


class Client:
    def __init__(self, url: str) -> None:
        from procrastinate import SyncPsycopgConnector

        self._app = make_app(SyncPsycopgConnector(conninfo=url))
        self._app.open()

    def migrate(self) -> None:
        self._app.schema_manager.apply_schema()

    def enqueue(self, payload: job.Payload) -> int:
        return int(self._app.configure_task("perform", queue="jobs").defer(payload=payload))

    def state(self, id: int) -> str:
        status = self._app.job_manager.get_job_status(id).value
        return STATES.get(str(status), str(status))


if __name__ == "__main__":
    job.main(work, Client)
