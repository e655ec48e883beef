"""Scratch databases, on the embedded server and on somebody's own; and what may stand in
DATABASE_URL.
"""

import itertools
import re
import socket
import threading
from urllib.parse import quote

import pytest
from database_clients import Client, Refused, cache_folder, eventually, gone, keepers, posix
from sqlalchemy import URL

from loopbound.database import Address
from loopbound.database.address import check
from loopbound.database.sweep import lock_number
from loopbound.problem import Problem

LEFT = "SELECT datname FROM pg_database WHERE datname ~ '^loopbound_.*_[0-9a-f]{16}$' ORDER BY 1"
PASSWORD = "p@ss/w:rd ü"


class Own:
    """Somebody's own server: another embedded one, reached by URL with a role of its own."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.port = client.start()
        self.admin = client.do("result = server_address().url()")
        for statement in (
            f"CREATE ROLE team LOGIN CREATEDB PASSWORD '{PASSWORD}'",
            f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'",
            "CREATE DATABASE team OWNER team",
            "CREATE DATABASE team_two OWNER team",
        ):
            self.sql(statement)

    def sql(self, statement: str) -> list:
        return self.client.do(f"result = sql({statement!r}, {self.admin!r})")

    def url(
        self,
        user: str = "team",
        database: str = "team",
        password: str = PASSWORD,
        scheme: str = "postgresql",
    ) -> str:
        return f"{scheme}://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def left(self) -> list[str]:
        return [name for (name,) in self.sql(LEFT)]


@pytest.fixture(scope="module")
def own():
    with cache_folder("own") as cache:
        with Client(cache) as client:
            yield Own(client)
        assert gone(cache)


@pytest.fixture(scope="module")
def served():
    """A cache whose server runs as long as these tests do."""
    with cache_folder() as folder:
        with Client(folder) as client:
            client.start()
            yield folder
        assert gone(folder)


@pytest.fixture
def cache():
    with cache_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def asking():
    """A process that is given one DATABASE_URL after the other: a wrong one leaves nothing in it."""
    with cache_folder() as folder, Client(folder) as client:
        yield client


def left_of(watcher: Client) -> list:
    return [name for (name,) in watcher.do(f"result = sql({LEFT!r}, server_address().url())")]


def test_scratch_databases_are_dropped_however_their_owner_ends(served):
    with Client(served) as watcher:
        watcher.start()

        def left() -> list:
            return left_of(watcher)

        with Client(served) as closes, Client(served) as ends, Client(served) as dies:
            names = [closes.scratch(), ends.scratch(), dies.scratch()]
            assert left() == sorted(names)
            # With a session in it, too.
            closes.do("held = psycopg.connect(scratch.url.replace('+asyncpg', ''))")
            closes.do("scratch.close(); scratch.close()")
            assert left() == sorted(names[1:])
            ends.end()
            assert left() == names[2:]
            dies.do("held = psycopg.connect(scratch.url.replace('+asyncpg', ''))")
            dies.kill()
            # The keeper's work: no client calls scratch_database here.
            assert eventually(lambda: left() == [])


@posix
def test_what_a_client_left_is_dropped_whoever_sees_first_that_it_is_gone(served):
    with Client(served) as watcher:
        watcher.start()
        assert eventually(lambda: keepers(served))
        (keeper,) = keepers(served)
        keeper.suspend()
        try:
            with Client(served) as dies:
                name = dies.scratch()
                dies.kill()
            # Looking at the living finds the dead one; it drops nothing.
            watcher.do("from loopbound.database.reach import recorded_scratch; recorded_scratch()")
            assert left_of(watcher) == [name]
        finally:
            keeper.resume()
        assert eventually(lambda: left_of(watcher) == [])


def test_what_a_killed_client_left_is_tried_until_its_lock_is_free(served):
    with Client(served) as watcher, Client(served) as holds:
        watcher.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        with Client(served) as dies:
            name = dies.scratch()
            # A session of the server may outlive its process for a moment; this one does for long.
            holds.do("held = psycopg.connect(**server_address().libpq())")
            number = lock_number(name)
            holds.send(f"held.execute('SELECT pg_advisory_lock({number})')")
            assert eventually(
                lambda: watcher.do(f"result = sql({waiting!r}, server_address().url())") == [[1]]
            )
            dies.kill()
        holds.answer()
        (folder,) = served.iterdir()

        def stems(ending: str) -> set[str]:
            return {path.stem for path in (folder / "clients").glob(f"*.{ending}")}

        assert eventually(lambda: stems("json") - stems("lock"))  # the keeper has looked
        assert left_of(watcher) == [name]
        holds.do("held.close()")
        assert eventually(lambda: left_of(watcher) == [] and stems("json") == stems("lock"))


def test_what_the_server_refuses_to_drop_is_tried_again(served):
    with Client(served) as watcher, Client(served) as client:
        watcher.start()
        names = [client.scratch()]
        client.do("first, url = scratch, server_address().url()")
        names.append(client.scratch())

        def protected(value: str) -> None:
            for name in names:
                client.do(f"sql('ALTER DATABASE {name} IS_TEMPLATE {value}', url)")

        protected("true")
        assert client.do("first.close(); scratch.close(); result = scratch.closed") is False
        protected("false")
        assert client.do("first.close(); result = first.closed") is True
        assert watcher.do(f"result = sql({LEFT!r}, server_address().url())") == [[names[1]]]
        client.end()
        assert watcher.do(f"result = sql({LEFT!r}, server_address().url())") == []


def test_a_with_block_drops_it_after_an_error(served):
    with Client(served) as client:
        with pytest.raises(Refused, match="ZeroDivisionError"):
            client.do("with scratch_database() as scratch: 1 / 0")
        assert client.do(f"result = sql({LEFT!r}, server_address().url())") == []


def test_sessions_are_the_servers_own_view(served):
    with Client(served) as client:
        client.scratch()
        assert client.do("result = scratch.sessions()") == []
        client.do(
            "held = psycopg.connect(scratch.url.replace('+asyncpg', ''), application_name='stream"
            " of mina')\nheld.execute('SELECT id FROM users')"
        )
        seen = (
            "(s,) = scratch.sessions(); result = [s.pid == held.info.backend_pid, s.state,"
            " s.wait_event_type, s.query, s.application_name]"
        )
        # The answer leaves the server a moment before it says that it waits for the next question.
        expected = [True, "idle in transaction", "Client", "SELECT id FROM users", "stream of mina"]
        assert eventually(lambda: client.do(seen) == expected), client.do(seen)


def test_threads_get_databases_of_their_own(served):
    with Client(served) as client:
        names = client.do(
            "from concurrent.futures import ThreadPoolExecutor\n"
            "with ThreadPoolExecutor(4) as pool:\n"
            "    made = list(pool.map(scratch_database, ['Lesson 04', 'ä', '', 'x' * 90]))\n"
            "result = [m.name for m in made]"
        )
        assert len(set(names)) == 4
        assert names[0].startswith("loopbound_lesson_04_")
        assert max(map(len, names)) <= 63
        assert client.do(f"result = len(sql({LEFT!r}, server_address().url()))") == 4
        client.do("[m.close() for m in made]")
        assert client.do(f"result = sql({LEFT!r}, server_address().url())") == []
        # Half a second less for all that use no engine.
        assert client.do("import sys; result = 'sqlalchemy' in sys.modules") is False


def test_the_password_is_in_no_repr(served):
    with Client(served) as client:
        client.scratch()
        assert client.do(
            "word = server_address().password\nresult = word in scratch.url, word in repr(scratch)"
            " + repr(server_address()) + repr(describe())"
        ) == [True, False]


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_database_url_is_used_and_no_server_started(own, cache, scheme):
    with Client(cache, DATABASE_URL=own.url(scheme=scheme)) as client:
        name = client.scratch()
        assert name in own.left()
        told = client.do("result = describe()")
        assert (told["kind"], told["port"], told["user"], told["folder"]) == (
            "url",
            own.port,
            "team",
            None,
        )
        assert told["version"].split(".")[0].isdigit()
        # The URL with its difficult password also works for the driver that it is meant for.
        assert client.do(
            "import asyncio\n"
            "from sqlalchemy import text\n"
            "from sqlalchemy.ext.asyncio import create_async_engine\n"
            "async def count():\n"
            "    engine = create_async_engine(scratch.url)\n"
            "    async with engine.connect() as connection:\n"
            "        found = (await connection.execute(text('SELECT count(*) FROM reports'))).scalar()\n"
            "    await engine.dispose()\n"
            "    return found\n"
            "result = asyncio.run(count())"
        ) == 6  # fmt: skip
    assert own.left() == []
    assert not cache.exists()


def test_two_on_one_server_spare_each_other_and_sweep_the_dead(own, cache):
    one = {"DATABASE_URL": own.url()}
    two = {"DATABASE_URL": own.url(database="team_two")}
    with Client(cache, **one) as alive, Client(cache, **two) as dies:
        kept, dead = alive.scratch("alive"), dies.scratch("dead")
        dies.do("held = psycopg.connect(scratch.url.replace('+asyncpg', ''))")
        dies.kill()
        # Another one comes through the other database: locks are counted per database, owners are
        # not.
        with Client(cache, **two) as comes:
            assert eventually(lambda: (comes.scratch("comes"), dead not in own.left())[1])
            assert kept in own.left()
            assert alive.do("result = sql('SELECT count(*) FROM users')") == [[3]]
    assert own.left() == []


def test_four_make_the_template_at_once(own, cache):
    own.sql(f"CREATE ROLE crowd LOGIN CREATEDB PASSWORD '{PASSWORD}'")
    clients = [Client(cache, DATABASE_URL=own.url("crowd", "postgres")) for _ in range(4)]
    for client in clients:
        client.send("scratch = scratch_database(); result = sql('SELECT count(*) FROM users')")
    assert [client.answer() for client in clients] == [[[3]]] * 4
    for client in clients:
        client.end()
    owned = own.sql(
        "SELECT count(*) FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE rolname ="
        " 'crowd'"
    )
    assert owned == [[1]]


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (lambda own: "mysql://mina:geheim1@localhost/course", "begins with mysql://.*accepted: postgresql://"),
        (lambda own: "postgresql+psycopg2://mina:geheim1@localhost/x", r"begins with postgresql\+psycopg2://"),
        (lambda own: "sqlite:///course.db", "begins with sqlite://"),
        (lambda own: "geheim1", "cannot be read.*accepted: postgresql://"),
        (lambda own: "postgresql://mina:geheim1@localhost:port/x", "cannot be read"),
        (lambda own: "postgresql://mina:geheim1@localhost/x?pool_size=3", "parameter 'pool_size'"),
        (lambda own: f"postgresql://mina:geheim1@127.0.0.1:{closed_port()}/x", "no server answers at 127.0.0.1:"),
        (lambda own: "postgresql://mina:geheim1@no-such-host.invalid/x", "no server answers at no-such-host.invalid:5432"),
        (lambda own: own.url(password="geheim1"), "refuses the password of team"),
        (lambda own: own.url(user="stranger", password="geheim1"), "refuses the password of stranger"),
        (lambda own: own.url(database="lost"), "has no database 'lost'"),
        (lambda own: own.url(user="guest"), "role guest at .* may not create databases.*ALTER ROLE \"guest\" CREATEDB"),
        (lambda own: own.url() + "?sslmode=require", "refuses the connection.*SSL"),
    ],
)  # fmt: skip
def test_a_wrong_database_url_is_explained(own, asking, url, told):
    asking.do(f"import os; os.environ['DATABASE_URL'] = {url(own)!r}")
    with pytest.raises(Refused) as caught:
        asking.scratch()
    kind, message = caught.value.args
    assert kind == "Problem"
    assert re.search(told, message, re.DOTALL), message
    assert len(message.splitlines()) <= 3
    assert (
        "geheim1" not in message
        and PASSWORD not in message
        and quote(PASSWORD, safe="") not in message
    )


def test_a_url_is_the_one_that_sqlalchemy_gives():
    hosts = ("127.0.0.1", "::1", "db.example", "/var/run/my server")
    words = (None, "mina", PASSWORD, "x+y%20", "a?b#c[d]&e=f", "学")
    for host, user, password, name, mode in itertools.product(
        hosts, words, words, words, (None, "require")
    ):
        address = Address("url", host, 5432, user, password, name, mode)
        socket_folder = {"host": host, "port": "5432"} if host.startswith("/") else {}
        wanted = URL.create(
            "postgresql+asyncpg", user, password, None if socket_folder else host,
            None if socket_folder else 5432, name, socket_folder | ({"ssl": mode} if mode else {}),
        )  # fmt: skip
        assert address.url() == wanted.render_as_string(hide_password=False).replace(" ", "%20")


def test_a_server_that_is_too_old_is_named(own):
    # No old server is at hand: the one that runs is measured against a version that is still to
    # come.
    address = Address("url", "127.0.0.1", own.port, "team", PASSWORD, "team")
    check(address)
    with pytest.raises(Problem, match=r"is PostgreSQL \d+\.\d+; Loopbound needs 99 or newer"):
        check(address, oldest_major=99)


def test_a_server_that_talks_something_else_is_named():
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            while not over.is_set():
                listener.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            address = Address("url", "127.0.0.1", listener.getsockname()[1], "mina", "geheim1", "x")
            with pytest.raises(Problem, match="refuses the connection") as caught:
                check(address)
            assert "geheim1" not in str(caught.value)
        finally:
            # A call wakes the thread on every system; closing the socket under it would not.
            over.set()
            socket.create_connection(listener.getsockname()).close()
            thread.join(10)


def test_drops_are_allowed_with_a_session_that_does_not_listen(served):
    """A session that sleeps on the server notices nothing; the drop does not wait for it."""
    with Client(served) as client:
        client.scratch()
        client.do(
            "import threading\n"
            "held = psycopg.connect(scratch.url.replace('+asyncpg', ''))\n"
            "def sleep():\n"
            "    try: held.execute('SELECT pg_sleep(600)')\n"
            "    except psycopg.errors.AdminShutdown: threading.ended = True\n"
            "thread = threading.Thread(target=sleep); thread.start()"
        )
        assert eventually(
            lambda: client.do("result = [s.state for s in scratch.sessions()]") == ["active"]
        )
        client.do("scratch.close(); thread.join(20)")
        assert client.do("result = threading.ended") is True
