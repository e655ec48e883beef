"""Two tasks of one loop share a connection of asyncpg."""

import asyncio
import os

import asyncpg

CURE = os.environ.get("CURE")
dsn = os.environ["DATABASE_URL"].replace("+asyncpg", "")


async def ask(connection):
    if CURE == "session-per-task":
        connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval("select 1")
    finally:
        if CURE == "session-per-task":
            await connection.close()


async def main():
    connection = await asyncpg.connect(dsn)
    try:
        await asyncio.gather(ask(connection), ask(connection))
    finally:
        await connection.close()


asyncio.run(main())
