"""The server ends a connection that waits in the pool, as a restart or a proxy does."""

import asyncio
import os

from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

CURE = os.environ.get("CURE")
options = {"pre-ping": {"pool_pre_ping": True}, "null-pool": {"poolclass": NullPool}}.get(CURE, {})


async def main():
    engine = create_async_engine(os.environ["DATABASE_URL"], **options)
    async with engine.connect() as connection:
        waits = (await connection.get_raw_connection()).driver_connection
        number = waits.get_server_pid()
    server = create_async_engine(os.environ["DATABASE_URL"])
    async with server.connect() as connection:
        await connection.execute(text(f"select pg_terminate_backend({number})"))
    await server.dispose()
    while not waits.is_closed():
        await asyncio.sleep(0.01)
    try:
        async with engine.connect() as connection:
            assert await connection.scalar(text("select 1")) == 1
    finally:
        await engine.dispose()


asyncio.run(main())
