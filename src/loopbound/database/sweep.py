"""Which scratch databases still have an owner, asked of the server.

The owner of a scratch database holds an advisory lock on a number made from its name, in a session
that ends with its process. Advisory locks are counted for each database, so none is tried to take
one: ``pg_locks`` shows those of all databases, and two people who share a server through different
databases spare each other's.
"""

import hashlib
import re
import secrets
from collections.abc import Collection

import psycopg
from psycopg import sql

NAME = re.compile(r"loopbound_[a-z0-9_]+_[0-9a-f]{16}")


def scratch_name(label: str) -> str:
    """A new name: ``loopbound_<label>_<16 hexadecimal digits>``, at most 63 bytes."""
    readable = re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")[:32] or "notebook"
    return f"loopbound_{readable}_{secrets.token_hex(8)}"


def lock_number(name: str) -> int:
    """The number (signed, 64 bits) that stands for a name."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)


def take(connection: psycopg.Connection, name: str) -> None:
    """Own `name`. Before CREATE DATABASE, so that it never exists without an owner."""
    connection.execute("SELECT pg_advisory_lock(%s)", [lock_number(name)])


def give_up(connection: psycopg.Connection, name: str) -> None:
    connection.execute("SELECT pg_advisory_unlock(%s)", [lock_number(name)])


def held_locks(connection: psycopg.Connection) -> set[int]:
    """The numbers of all advisory locks that a session of the server holds now."""
    rows = connection.execute(
        "SELECT (classid::bigint << 32) | objid::bigint FROM pg_locks"
        " WHERE locktype = 'advisory' AND objsubid = 1 AND granted"
    )
    return {number for (number,) in rows}


def drop(connection: psycopg.Connection, name: str) -> None:
    connection.execute(
        sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    )


def sweep(connection: psycopg.Connection, spared: Collection[str]) -> set[str]:
    """Drop the scratch databases of this role whose owner is gone, apart from those in `spared`.

    Returns:
        the ones not in `spared` that are still there: they have an owner, or the server refused.
    """
    # Databases first, locks second: what exists in the first answer was locked before it existed.
    rows = connection.execute(
        "SELECT datname FROM pg_database WHERE datname LIKE 'loopbound\\_%' AND datdba = (SELECT"
        " oid FROM pg_roles WHERE rolname = current_user)"
    ).fetchall()
    names = {name for (name,) in rows if NAME.fullmatch(name)} - set(spared)
    if not names:
        return names
    held = held_locks(connection)
    for name in sorted(names):
        if lock_number(name) not in held:
            try:
                drop(connection, name)
                names.remove(name)
            except psycopg.Error:
                if connection.closed:
                    raise
                # Another process swept it at the same moment, or will.
    return names
