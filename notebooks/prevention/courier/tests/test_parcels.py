from app.database import SessionFactory
from app.parcels import deliver, waiting


async def test_each_parcel_waits(parcels):
    async with SessionFactory() as session:
        assert await waiting(session) == ["A1", "B2", "C3"]


async def test_a_delivered_parcel_does_not_wait(parcels):
    async with SessionFactory() as session:
        await deliver(session, "B2")
        assert await waiting(session) == ["A1", "C3"]
