"""`python -m examples.ai_worker.migrate`: the tables, the app's and jobq's; before a deployment."""

import asyncio

from examples.ai_worker.app import engine, queue, tables


async def migrate() -> None:
    await queue.migrate()
    async with engine.begin() as connection:
        await connection.run_sync(tables.create_all)
    await engine.dispose()
    await queue.aclose()


if __name__ == "__main__":
    asyncio.run(migrate())
