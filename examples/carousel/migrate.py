"""`python -m examples.carousel.migrate`: the tables, the app's and jobq's."""

import asyncio

from examples.carousel.jobs import engine, queue, tables


async def migrate() -> None:
    await queue.migrate()
    async with engine.begin() as connection:
        await connection.run_sync(tables.create_all)
    await engine.dispose()
    await queue.aclose()


if __name__ == "__main__":
    asyncio.run(migrate())
