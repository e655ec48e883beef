import asyncio

import pytest  # for the mark that lesson 08 adds
from sqlalchemy import text

loops = []


async def test_first():
    loops.append(asyncio.get_running_loop())


async def test_second():
    assert asyncio.get_running_loop() is loops[0]


async def test_connection(engine):
    async with engine.connect() as connection:
        await connection.execute(text("select 1"))
