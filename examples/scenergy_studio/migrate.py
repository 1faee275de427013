"""`python -m examples.scenergy_studio.migrate`: the tables, the app's and jobq's."""

import asyncio

from examples.scenergy_studio.app import Base, engine, queue


async def migrate() -> None:
    await queue.migrate()
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()
    await queue.aclose()


if __name__ == "__main__":
    asyncio.run(migrate())
