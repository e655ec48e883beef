"""One client of each of eight libraries: how it is made, used and closed.

Real servers: PostgreSQL, and for the others one in a thread of this process. PyMongo compares loops
before it looks for a server, so it needs none.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

from servers import echo_server, http_server, redis_server

CURE = os.environ.get("CURE", "")
DSN = os.environ.get("DATABASE_URL", "").replace("+asyncpg", "")


class Redis:
    def __init__(self):
        self.port = redis_server().port

    async def make(self):
        import redis.asyncio as redis

        # At most two connections, so that a third command has to wait for one.
        pool = redis.BlockingConnectionPool(host="127.0.0.1", port=self.port, max_connections=2)
        return redis.Redis.from_pool(pool)

    async def use(self, client):
        await asyncio.gather(*(client.ping() for _ in range(4)))

    async def close(self, client):
        await client.aclose()

    async def end(self, client):
        if CURE == "disconnect() after each run":
            await client.connection_pool.disconnect()


class Httpx:
    def __init__(self):
        self.url = f"http://127.0.0.1:{http_server().port}/"

    async def make(self):
        import httpx

        limits = httpx.Limits(max_keepalive_connections=0 if CURE == "no-keep-alive" else 5)
        return httpx.AsyncClient(limits=limits)

    async def use(self, client):
        assert (await client.get(self.url)).text == "42"

    async def close(self, client):
        await client.aclose()

    async def end(self, client):
        if CURE == "aclose() of the shared client":
            await client.aclose()


class Aiohttp:
    def __init__(self):
        self.url = f"http://127.0.0.1:{http_server().port}/"

    async def make(self):
        import aiohttp

        seconds = 3000 if CURE == "a longer timeout" else 30
        return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=seconds))

    async def use(self, client):
        async with client.get(self.url) as answer:
            assert await answer.text() == "42"

    async def close(self, client):
        await client.close()

    async def end(self, client):
        pass


class Mongo:
    async def make(self):
        from pymongo import AsyncMongoClient

        return AsyncMongoClient("mongodb://127.0.0.1:9", serverSelectionTimeoutMS=20)

    async def use(self, client):
        from pymongo.errors import ServerSelectionTimeoutError

        try:
            await client.admin.command("ping")
        except ServerSelectionTimeoutError:
            pass  # there is no server; that far the client is well

    async def close(self, client):
        await client.close()

    async def end(self, client):
        if CURE == "close after each test":
            await client.close()


class Grpc:
    def __init__(self):
        import grpc

        def weigh(request, context):
            return request.upper()

        handlers = {"Weigh": grpc.unary_unary_rpc_method_handler(weigh)}
        self.server = grpc.server(ThreadPoolExecutor(2))
        self.server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("Post", handlers)]
        )
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def make_now(self):
        import grpc

        return grpc.aio.insecure_channel(f"127.0.0.1:{self.port}")

    async def make(self):
        return self.make_now()

    async def use(self, client):
        assert await client.unary_unary("/Post/Weigh")(b"parcel") == b"PARCEL"

    async def close(self, client):
        await client.close()

    async def end(self, client):
        pass


class AsyncpgPool:
    async def make(self):
        import asyncpg

        return await asyncpg.create_pool(DSN, min_size=1, max_size=2)

    async def use(self, client):
        assert await client.fetchval("select 1") == 1

    async def close(self, client):
        await client.close()

    async def end(self, client):
        if CURE == "expire_connections()":
            await client.expire_connections()


class PsycopgPool:
    null = CURE == "AsyncNullConnectionPool"  # of the case
    used = 0

    async def make(self):
        from psycopg_pool import AsyncConnectionPool, AsyncNullConnectionPool

        self.used = 0
        if self.null:
            pool = AsyncNullConnectionPool(DSN, max_size=1, timeout=1, open=False)
        else:
            pool = AsyncConnectionPool(DSN, min_size=1, max_size=3, timeout=1, open=False)
        await pool.open(wait=True)  # else a run may end while a worker connects, and hang
        return pool

    async def use(self, client):
        if self.null:  # three tasks, one connection at a time: some have to wait
            await asyncio.gather(*(self.ask(client) for _ in range(3)))
            return
        # One more connection at once than before, up to the pool's three: its workers open it.
        self.used += 1
        async with AsyncExitStack() as stack:
            for _ in range(self.used):
                await stack.enter_async_context(client.connection())

    async def ask(self, client):
        async with client.connection() as connection:
            await connection.execute("select pg_sleep(0.01)")

    async def close(self, client):
        await client.close()

    async def end(self, client):
        pass


class Streams:
    """A small protocol of one's own over asyncio's streams: no library speaks."""

    def __init__(self):
        self.port = echo_server().port

    async def make(self):
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def use(self, client):
        reader, writer = client
        if CURE == "a retry":
            try:
                return await self.echo(reader, writer)
            except RuntimeError:
                pass
        await self.echo(reader, writer)

    async def echo(self, reader, writer):
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"

    async def close(self, client):
        client[1].close()
        await client[1].wait_closed()

    async def end(self, client):
        pass


CLIENTS = {
    "redis": Redis,
    "httpx": Httpx,
    "aiohttp": Aiohttp,
    "mongo": Mongo,
    "grpc": Grpc,
    "asyncpg-pool": AsyncpgPool,
    "psycopg-pool": PsycopgPool,
    "streams": Streams,
}
library = CLIENTS[os.environ["CLIENT"]]()
