"""What lesson 00 says about the incident documents' claims, executed."""

import pytest
from claims import claim
from sqlalchemy import text
from sqlalchemy.exc import InterfaceError
from sqlalchemy.ext.asyncio import create_async_engine

from loopbound import NamedLoop, Recorder, scratch_database


async def ask(engine):
    async with engine.connect() as connection:
        return await connection.scalar(text("select 1"))


@claim(
    "A01",
    verdict="holds with a correction",
    observed=(
        "the second loop gets RuntimeError … attached to a different loop; the third gets "
        "InterfaceError … another operation is in progress: two messages, one fault"
    ),
)
def test_the_failure_is_attached_to_a_different_loop_and_then_another_message():
    with scratch_database("claim") as db:
        engine = create_async_engine(db.url)
        with Recorder(engine), NamedLoop("A") as A, NamedLoop("B") as B, NamedLoop("C") as C:
            assert A.run(ask(engine)) == 1
            with pytest.raises(
                RuntimeError,
                match=(
                    r"^Task <Task pending name='ask' .* got Future .* attached to a different loop$"
                ),
            ):
                B.run(ask(engine))
            with pytest.raises(InterfaceError, match="another operation is in progress"):
                C.run(ask(engine))
            engine.sync_engine.dispose(close=False)
