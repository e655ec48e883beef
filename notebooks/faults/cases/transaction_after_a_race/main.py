"""Two tasks of one loop share a connection: the COMMIT of one meets the other's question, and fails.

The server's transaction stays open, so that the next transaction() finds one that it has not begun.
"""

import asyncio
import os

import asyncpg

CURE = os.environ.get("CURE")
dsn = os.environ["DATABASE_URL"].replace("+asyncpg", "")


async def book(connection, asked):
    async with connection.transaction():
        await connection.fetchval("select 1")
        asked.set()
        await asyncio.sleep(0)  # the other task asks now


async def report(connection, asked):
    await asked.wait()
    if CURE == "session-per-task":
        connection = await asyncpg.connect(dsn)
    await connection.execute("select pg_sleep(0.1)")
    if CURE == "session-per-task":
        await connection.close()


async def main():
    asked = asyncio.Event()
    connection = await asyncpg.connect(dsn)
    try:
        await asyncio.gather(book(connection, asked), report(connection, asked), return_exceptions=True)
        await book(connection, asked)
    finally:
        await connection.close()


asyncio.run(main())
