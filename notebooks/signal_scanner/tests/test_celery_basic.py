"""The Celery application, with its broker in memory."""

from __future__ import annotations

from uuid import uuid4

from app.worker import analyse, celery_app, keywords


def test_analyse_is_sent_as_json_under_its_name() -> None:
    task_id = str(uuid4())
    celery_app.control.purge()  # the queue is this process's own
    analyse.delay(task_id)
    with celery_app.connection_for_read() as connection, connection.SimpleQueue("celery") as queue:
        message = queue.get(timeout=1)
        message.ack()
    assert message.headers["task"] == "signal_scanner.analyse"
    assert message.content_type == "application/json"
    assert message.payload[0] == [task_id]


def test_keywords_task_runs_its_coroutine() -> None:
    assert keywords.apply(args=["A server for the home, with backup"]).get() == ["server", "home", "backup"]
