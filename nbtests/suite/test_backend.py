"""The incident's backend: its suite fails as the incident did, and on a sound set-up each test is
worth having.
"""

from __future__ import annotations

import subprocess
import sys

import psycopg
import pytest
from as_found import FIVE

from loopbound import scratch_database
from loopbound.suite import BACKEND, incident, run_suite, run_suites

API = "tests/api"
# Names that the incident's documents give.
NAMED = [
    *FIVE,
    f"{API}/test_auth.py::test_register_user_conflict_returns_409",
    f"{API}/test_auth.py::test_login_user_success_returns_token",
    f"{API}/test_auth.py::test_login_user_invalid_password",
    f"{API}/test_auth.py::test_full_auth_flow_allows_protected_endpoint",
    "tests/core/test_security.py::test_hash_password_roundtrip",
    "tests/services/test_community_discovery.py::test_extract_keywords_basic",
]
FILES = {
    f"{API}/test_analyze.py": 4,
    f"{API}/test_auth.py": 5,
    f"{API}/test_reports.py": 3,
    f"{API}/test_status.py": 3,
    f"{API}/test_stream.py": 3,
    "tests/core/test_security.py": 4,
    "tests/services/test_community_discovery.py": 4,
    "tests/test_celery_basic.py": 2,
    "tests/test_schemas.py": 2,
    "tests/test_task_system.py": 3,
}

# A sound set-up, so that the loops' fault hides nothing: each test hands an empty pool to the next.
SOUND = {
    "tests/conftest.py": (BACKEND / "tests" / "conftest.py").read_text(encoding="utf-8")
    + """
import pytest


@pytest.fixture(autouse=True)
async def leave_an_empty_pool():
    from app.db.session import engine

    yield
    await engine.dispose()
"""
}

AUTH, REPORTS, STATUS, STREAM = (
    f"{API}/test_{name}.py::test_" for name in ("auth", "reports", "status", "stream")
)
ANALYZE = f"{API}/test_analyze.py::test_analyze_"
SECURITY, DISCOVERY = (
    "tests/core/test_security.py::test_",
    "tests/services/test_community_discovery.py::test_",
)
CELERY, SCHEMAS, TASKS = (
    f"tests/test_{name}.py::test_" for name in ("celery_basic", "schemas", "task_system")
)
# name: (file, what stands there, the bug in its place, tests that must fail and no others)
BUGS = {
    "any password will do": (
        "app/core/security.py", "        return False\n", "        return True\n",
        {AUTH + "login_user_invalid_password", SECURITY + "verify_password_rejects_wrong_password_and_damaged_hash"},
    ),
    "passwords hashed without salt": (
        "app/core/security.py", ".hash(password)", ".hash(password, salt=b'always the same!')",
        {SECURITY + "hash_password_roundtrip"},
    ),
    "passwords stored as they are": (
        "app/core/security.py", "return PasswordHasher.from", "return password or PasswordHasher.from",
        {AUTH + "register_user_creates_account", AUTH + "login_user_success_returns_token",
         AUTH + "full_auth_flow_allows_protected_endpoint", SECURITY + "hash_password_roundtrip"},
    ),
    "tokens never expire": (
        "app/core/security.py", '["sub", "exp"]', '["sub", "exp"], "verify_exp": False',
        {ANALYZE + "rejects_expired_token", SECURITY + "token_names_its_account_until_it_expires"},
    ),
    "signatures not verified": (
        "app/core/security.py", '["sub", "exp"]', '["sub", "exp"], "verify_signature": False, "verify_exp": True',
        {SECURITY + "token_signed_by_somebody_else_is_rejected"},
    ),
    "no token needed": (
        "app/api/deps.py", 'raise InvalidToken("no token")', "return UUID(int=0)",
        {ANALYZE + "requires_token", AUTH + "full_auth_flow_allows_protected_endpoint",
         STATUS + "get_status_requires_token", STREAM + "sse_requires_token"},
    ),
    "addresses unique no longer": (
        "schema.sql", ",\n    CONSTRAINT uq_accounts_email UNIQUE (email)", "", {AUTH + "register_user_conflict_returns_409"},
    ),
    "addresses differ by case": (
        "app/schemas.py", "AfterValidator(str.lower)", "AfterValidator(str)",
        {AUTH + "register_user_creates_account", SCHEMAS + "credentials_normalise_and_check"},
    ),
    "blank descriptions accepted": (
        "app/schemas.py", "StringConstraints(strip_whitespace=True, min_length=10", "StringConstraints(min_length=10",
        {ANALYZE + "rejects_blank_description", SCHEMAS + "analysis_request_bounds_its_description"},
    ),
    "everybody sees every task": (
        "app/api/deps.py", "task.owner_id != account_id", "False",
        {REPORTS + "get_report_permission_denied", STATUS + "get_status_forbidden"},
    ),
    "task not committed": (
        "app/api/analyze.py", "await session.commit()", "await session.flush()", {ANALYZE + "is_accepted_and_completed"},
    ),
    "reports before completion": (
        "app/api/reports.py", "task.state != TaskState.COMPLETED", "False", {REPORTS + "get_report_requires_completion"},
    ),
    "keywords left out of reports": (
        "app/schemas.py", "    keywords: list[str]\n", "",
        {ANALYZE + "is_accepted_and_completed", REPORTS + "get_report_returns_completed_report"},
    ),
    "errors left out of the status": (
        "app/schemas.py", "    error: str | None\n", "", {STATUS + "get_status_returns_state_and_error"},
    ),
    "streams end without a word": (
        "app/api/stream.py", '    yield ServerSentEvent(event=state, data={"state": state})\n', "",
        {STREAM + "sse_connection_and_completion"},
    ),
    "streams without a limit": (
        "app/api/stream.py", "time.monotonic() >= deadline", "False", {STREAM + "sse_ends_at_its_time_limit"},
    ),
    "stop words kept": (
        "app/services/community_discovery.py", "word not in STOP_WORDS", "True",
        {ANALYZE + "is_accepted_and_completed", CELERY + "keywords_task_runs_its_coroutine", DISCOVERY + "extract_keywords_basic"},
    ),
    "keywords by appearance": (
        "app/services/community_discovery.py", "counts.most_common(limit)", "list(counts.items())[:limit]",
        {DISCOVERY + "extract_keywords_ranks_by_frequency"},
    ),
    "long texts block the loop": (
        "app/services/community_discovery.py", "number % _WORDS_PER_TURN == 0", "number < 0",
        {DISCOVERY + "extract_keywords_lets_other_tasks_run"},
    ),
    "worst communities first": (
        "app/services/community_discovery.py", "-len(community.shared)", "len(community.shared)",
        {DISCOVERY + "discover_communities_ranks_by_shared_keywords"},
    ),
    "messages pickled": (
        "app/worker.py", 'task_serializer="json"', 'task_serializer="pickle"', {CELERY + "analyse_is_sent_as_json_under_its_name"},
    ),
    "failed tasks start again": (
        "app/services/task_system.py", "TaskState.FAILED: frozenset()", "TaskState.FAILED: frozenset({TaskState.RUNNING})",
        {TASKS + "next_state_allows_only_the_way_forward"},
    ),
    "one attempt too few": (
        "app/services/task_system.py", "record.attempts >= self.max_attempts", "record.attempts >= self.max_attempts - 1",
        {TASKS + "registry_retries_what_may_pass", TASKS + "registry_gives_up"},
    ),
    "every error retried": (
        "app/services/task_system.py", "except Retryable:", "except Exception:", {TASKS + "registry_gives_up"},
    ),
}  # fmt: skip


def _batches() -> list[list[str]]:
    """The bugs' names, few runs' worth: in a batch no two bugs touch one file, or are caught by one
    test.
    """
    batches: list[list[str]] = []
    for name, (file, _, _, tests) in BUGS.items():
        for batch in batches:
            if all(BUGS[other][0] != file and not BUGS[other][3] & tests for other in batch):
                batch.append(name)
                break
        else:
            batches.append([name])
    return batches


def _with_bugs(names: list[str]) -> dict[str, str]:
    overlay = dict(SOUND)
    for file, there, bug, _ in map(BUGS.__getitem__, names):
        source = (BACKEND / file).read_text(encoding="utf-8")
        assert source.count(there) == 1, (
            f"{file} no longer has {there!r} once: change the bug with it."
        )
        overlay[file] = source.replace(there, bug)
    return overlay


@pytest.fixture(scope="module")
def sound_runs():
    """The suite on a sound set-up: without a bug (under None) and with each; some share a run."""
    batches = _batches()
    jobs = [{"project": BACKEND, "overlay": SOUND}]
    jobs += [{"project": BACKEND, "overlay": _with_bugs(batch)} for batch in batches]
    sound, *runs = run_suites(jobs)
    return {None: sound} | {
        name: run for batch, run in zip(batches, runs, strict=True) for name in batch
    }


def test_five_named_tests_of_33_fail_and_with_the_incidents_message():
    run = incident()
    assert run.failed == dict.fromkeys(FIVE, "different loop")
    assert not run.errors and not run.hung
    assert len(run.passed) == 28


def test_each_of_the_five_passes_alone():
    for run in run_suites([{"project": BACKEND, "tests": [test]} for test in sorted(FIVE)]):
        assert len(run.passed) == len(run.tests) == 1


def test_another_order_fails_elsewhere_and_without_pre_ping_more_fails():
    reverse, without = run_suites(
        [
            {"project": BACKEND, "order": "reverse"},
            {"project": BACKEND, "environment": {"SIGNAL_SCANNER_POOL_PRE_PING": "0"}},
        ]
    )
    assert reverse.failed and set(reverse.failed) != FIVE
    assert set(without.failed) > FIVE
    assert "operation in progress" in without.failed.values()


def test_without_a_pool_nothing_fails():
    assert len(incident(environment={"SIGNAL_SCANNER_POOL": "null"}).passed) == 33


def test_on_a_sound_set_up_all_pass_without_a_warning_or_a_session_left(sound_runs):
    run = sound_runs[None]
    assert len(run.passed) == len(run.tests) == 33
    assert run.warnings == () and run.leftovers == ()
    files = [test.id.partition("::")[0] for test in run.tests]
    assert {file: files.count(file) for file in dict.fromkeys(files)} == FILES
    assert set(NAMED) <= set(run.passed)


@pytest.mark.parametrize("batch", _batches(), ids=lambda batch: f"{len(batch)} bugs")
def test_seeded_bugs_are_caught_by_these_tests_and_no_others(sound_runs, batch):
    run = sound_runs[batch[0]]
    assert set(run.failed) == set().union(*(BUGS[bug][3] for bug in batch))
    assert not run.errors and not run.hung


def test_every_test_catches_a_bug(sound_runs):
    caught = {test for run in sound_runs.values() for test in run.failed}
    assert set(sound_runs[None].passed) - caught == set()


def test_the_models_and_schema_sql_make_the_same_tables():
    program = (
        "from sqlalchemy.dialects import postgresql\n"
        "from sqlalchemy.schema import CreateIndex, CreateTable\n"
        "from app.db.models import Base\n"
        "for table in Base.metadata.sorted_tables:\n"
        "    for element in [CreateTable(table), *map(CreateIndex, table.indexes)]:\n"
        "        print(str(element.compile(dialect=postgresql.dialect())) + ';')\n"
    )
    models = subprocess.run(
        [sys.executable, "-B", "-c", program],
        cwd=BACKEND,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert _tables(models) == _tables((BACKEND / "schema.sql").read_text(encoding="utf-8"))


def _tables(schema: str) -> dict[str, list[tuple]]:
    """Columns, constraints and indexes of a database made by `schema`."""
    with scratch_database("backend", schema=schema) as database:  # noqa: SIM117
        with psycopg.connect(database.url.replace("+asyncpg", "")) as connection:
            found = {
                "columns": (
                    connection.execute(
                        "SELECT table_name, column_name, data_type, character_maximum_length,"
                        " is_nullable, column_default FROM information_schema.columns WHERE"
                        " table_schema = 'public' ORDER BY 1, 2"
                    ).fetchall()
                ),
                "constraints": (
                    connection.execute(
                        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM"
                        " pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2"
                    ).fetchall()
                ),
                "indexes": (
                    connection.execute(
                        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
                    ).fetchall()
                ),
            }
    assert {row[0] for row in found["columns"]} == {
        "accounts",
        "analysis_tasks",
        "analysis_reports",
    }
    return found


def test_one_analysis_in_a_process_of_its_own_as_the_worker_does_it():
    with scratch_database(  # noqa: SIM117
        "backend", schema=(BACKEND / "schema.sql").read_text(encoding="utf-8")
    ) as database:
        with psycopg.connect(database.url.replace("+asyncpg", ""), autocommit=True) as connection:
            task = connection.execute(
                "WITH account AS (INSERT INTO accounts VALUES (gen_random_uuid(), 'a@example.org',"
                " 'unusable') RETURNING id) INSERT INTO analysis_tasks (id, owner_id, description)"
                " SELECT gen_random_uuid(), id, 'Invoices for a small shop' FROM account"
                " RETURNING id"
            ).fetchone()[0]
            run = run_suite(
                BACKEND,
                overlay={
                    "tests/test_worker.py": (
                        "from app.worker import analyse\n\ndef test_worker():\n"
                        f"    assert analyse.apply(args=[{str(task)!r}]).get() == 'completed'\n"
                    )
                },
                tests=["tests/test_worker.py"],
                environment={"DATABASE_URL": database.url},
            )
            assert len(run.passed) == 1, run.output
            stored = connection.execute(
                "SELECT keywords FROM analysis_reports WHERE task_id = %s", [task]
            ).fetchone()
    assert stored[0] == ["invoices", "small", "shop"]
