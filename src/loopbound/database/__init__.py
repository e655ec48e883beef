"""A real PostgreSQL: the embedded server, or the one that DATABASE_URL names.

>>> scratch = scratch_database("lesson-04")
>>> engine = create_async_engine(scratch.url)

Nothing in here touches an event loop (administration is synchronous psycopg), and nothing prints.
"""

from loopbound.database.address import Address
from loopbound.database.reach import describe, server_address
from loopbound.database.scratch import ScratchDatabase, Session, scratch_database, stop_if_unused

__all__ = [
    "Address",
    "ScratchDatabase",
    "Session",
    "describe",
    "scratch_database",
    "server_address",
    "stop_if_unused",
]
