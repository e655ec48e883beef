import pytest
from app.database import SessionFactory
from app.parcels import add_parcel


@pytest.fixture(scope="session")
async def parcels():
    async with SessionFactory() as session:
        for code in ("A1", "B2", "C3"):
            await add_parcel(session, code)
        await session.commit()
