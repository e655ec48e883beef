"""Labels come by the thousand: COPY, through a pool of asyncpg's own."""

import os

import asyncpg

_pool = None


async def pool():
    global _pool
    if _pool is None:
        url = os.environ["DATABASE_URL"].replace("+asyncpg", "")
        _pool = await asyncpg.create_pool(url, min_size=1, max_size=2)
    return _pool


async def close_pool():
    global _pool
    if _pool is not None:
        await _pool.close()
        _pool = None


async def write_labels(codes):
    labels = await pool()
    await labels.copy_records_to_table("labels", records=[(code,) for code in codes], columns=["code"])


async def count_labels():
    labels = await pool()
    return await labels.fetchval("select count(*) from labels")
