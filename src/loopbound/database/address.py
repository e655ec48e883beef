"""Where a PostgreSQL is: the address, and what may stand in DATABASE_URL."""

import socket
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from loopbound.problem import Problem

OLDEST_MAJOR = 15  # the first with CREATE DATABASE … STRATEGY, and still maintained
ACCEPTED = (
    "accepted: postgresql://user:password@host:5432/database (also postgres:// and"
    " postgresql+asyncpg://)"
)
CONNECT_SECONDS = 10


@dataclass(frozen=True)
class Address:
    """A PostgreSQL server with a role that may create databases.

    Its repr never shows the password.
    """

    kind: str
    """``"embedded"`` or ``"url"``."""
    host: str
    """A name, an IP address or, with a leading slash, the folder of a Unix socket."""
    port: int
    user: str | None
    password: str | None = field(repr=False)
    database: str | None
    """The database for administration; experiments get their own from `scratch_database`."""
    sslmode: str | None = None

    def url(self, database: str | None = None) -> str:
        """For ``create_async_engine``: ``postgresql+asyncpg://…/database``, password included."""
        # As SQLAlchemy's own URL gives it, but for spaces, which psycopg and asyncpg do not take as
        # they are. Its import takes half a second, and many a process needs no more of it.
        who = "" if self.user is None else quote(self.user, safe="+")
        if who and self.password is not None:
            who += ":" + quote(self.password, safe="+")
        query = {"ssl": self.sslmode} if self.sslmode else {}
        place = f"[{self.host}]" if ":" in self.host else self.host
        if self.host.startswith("/"):
            query |= {"host": self.host, "port": str(self.port)}
            place = ""
        name = database or self.database
        return (
            "postgresql+asyncpg://"
            + (f"{who}@" if who else "")
            + (f"{place}:{self.port}" if place else "")
            + ("" if name is None else "/" + quote(name, safe="+/"))
            + ("?" + urlencode(sorted(query.items())) if query else "")
        )

    def libpq(self) -> dict[str, Any]:
        """Keyword arguments for ``psycopg.connect`` to the database for administration."""
        options = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "dbname": self.database,
            "sslmode": self.sslmode,
            "application_name": "loopbound",
            "connect_timeout": CONNECT_SECONDS,
            # A scratch database belongs to the session that holds its lock: it must not end for
            # being idle.
            "options": "-c idle_session_timeout=0 -c lock_timeout=0 -c statement_timeout=0",
        }
        if self.kind == "embedded":
            # Named in full, so that PGHOSTADDR, PGSSLMODE and their like in the environment
            # change nothing.
            options |= {"hostaddr": self.host, "sslmode": "disable", "gssencmode": "disable"}
            options |= {
                "channel_binding": "disable",
                "target_session_attrs": "any",
                "require_auth": "scram-sha-256",
            }
        return {key: value for key, value in options.items() if value is not None}


def parse(text: str) -> Address:
    """Read a DATABASE_URL.

    Raises:
        Problem: it is no address of a PostgreSQL; the message names what is wrong, and no password.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    if text.startswith("postgres://"):
        text = "postgresql://" + text.removeprefix("postgres://")
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Its text may hold a password, so it is not repeated.
        raise Problem(f"DATABASE_URL cannot be read as a database address.\n{ACCEPTED}") from None
    if url.drivername not in ("postgresql", "postgresql+asyncpg"):
        raise Problem(
            f"DATABASE_URL begins with {url.drivername}://, which is not used here.\n{ACCEPTED}"
        )
    known = {"ssl", "sslmode", "host", "port"}
    for name in url.query:
        if name not in known:
            raise Problem(
                f"DATABASE_URL carries the parameter {name!r}; only sslmode, host and port are"
                " passed on."
            )
    query = {
        name: value if isinstance(value, str) else value[-1] for name, value in url.query.items()
    }
    try:
        port = url.port or int(query.get("port", 5432))
    except ValueError:
        raise Problem(f"DATABASE_URL has the port {query['port']!r}, which is no number.") from None
    return Address(
        kind="url",
        host=url.host or query.get("host") or "localhost",
        port=port,
        user=url.username,
        password=str(url.password) if url.password is not None else None,
        database=url.database or None,
        sslmode=query.get("sslmode") or query.get("ssl"),
    )


def check(address: Address, oldest_major: int = OLDEST_MAJOR) -> None:
    """Connect once and see that scratch databases can be made there.

    Raises:
        Problem: unreachable, bad password, missing database, too old, or a role that may not create
            databases.
    """
    import psycopg

    place = f"{address.host}:{address.port}"
    if not address.host.startswith("/"):
        try:
            socket.create_connection((address.host, address.port), timeout=CONNECT_SECONDS).close()
        except OSError as error:
            raise Problem(
                f"DATABASE_URL: no server answers at {place} ({_reason(error)}).\nStart that"
                " server, correct the address, or unset DATABASE_URL to use the embedded server."
            ) from None
    try:
        # Without the options: one of them is unknown to servers that are too old, and that is to be
        # said in words.
        connection = psycopg.connect(**address.libpq() | {"options": ""}, autocommit=True)
    except psycopg.Error as error:
        raise _refused(address, place, str(error)) from None
    with connection:
        version = connection.info.server_version
        if version // 10000 < oldest_major:
            raise Problem(
                f"DATABASE_URL: the server at {place} is PostgreSQL {readable_version(version)};"
                f" Loopbound needs {oldest_major} or newer.\n"
                "Unset DATABASE_URL to use the embedded server."
            )
        ((role, allowed),) = connection.execute(
            "SELECT current_user, rolcreatedb OR rolsuper FROM pg_roles WHERE rolname ="
            " current_user"
        )
        if not allowed:
            raise Problem(
                f"DATABASE_URL: the role {role} at {place} may not create databases, and each"
                " notebook gets its own.\n"
                f'An administrator can allow it: ALTER ROLE "{role}" CREATEDB'
            )


def readable_version(number: int) -> str:
    """libpq's 180006 as "18.6"."""
    return f"{number // 10000}.{number % 10000}"


def _refused(address: Address, place: str, message: str) -> Problem:
    # libpq hands on no SQLSTATE for a failed connection, only text. A server that speaks another
    # language is quoted in its own words.
    if "password authentication failed" in message or "no password supplied" in message:
        return Problem(
            f"DATABASE_URL: the server at {place} refuses the password of"
            f" {address.user or 'the default user'}.\nCorrect user or password; letters such as @ :"
            " / in a password are written %40 %3A %2F."
        )
    if "does not exist" in message and "database" in message:
        return Problem(
            f"DATABASE_URL: the server at {place} has no database"
            f" {address.database or address.user!r}.\nName one that exists (postgres usually does),"
            " or create it."
        )
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    quoted = lines[-1] if lines else "no reason given"
    if address.password:
        quoted = quoted.replace(address.password, "***")
    return Problem(
        f"DATABASE_URL: the server at {place} refuses the connection.\nIt says: {quoted}"
    )


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "the host name is not known"
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_SECONDS} s"
    return (error.strerror or str(error)).lower()
