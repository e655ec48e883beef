import asyncio

from conftest import Session
from sqlalchemy import text


async def test_row_is_seen(parcel):
    assert await Session.scalar(text("select count(*) from parcels")) == 1


async def test_table_can_be_emptied(parcel):
    async with asyncio.timeout(1):
        await Session.execute(text("truncate parcels"))
