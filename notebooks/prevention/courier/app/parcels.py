"""Which parcels wait, and which are delivered."""

from sqlalchemy import text


async def add_parcel(session, code):
    await session.execute(text("insert into parcels (code) values (:code)"), {"code": code})


async def deliver(session, code):
    await session.execute(text("update parcels set delivered = true where code = :code"), {"code": code})


async def waiting(session):
    return list(await session.scalars(text("select code from parcels where not delivered order by code")))
