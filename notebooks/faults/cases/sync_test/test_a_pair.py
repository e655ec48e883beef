import pytest
from conftest import CURE, engine
from sqlalchemy import text


@pytest.mark.asyncio(loop_scope="session" if CURE == "session-loop" else "module")
async def test_table_is_there(schema):
    async with engine.connect() as connection:
        assert await connection.scalar(text("select count(*) from parcels")) == 0


if CURE == "async-test":

    @pytest.mark.asyncio(loop_scope="module")
    async def test_number(parcel):
        assert parcel == 7

else:

    def test_number(parcel):
        assert parcel == 7
