"""What the incident's documents say of their suite: the five tests that fail in it."""

FIVE = {
    "tests/api/test_auth.py::test_register_user_creates_account",
    "tests/api/test_reports.py::test_get_report_permission_denied",
    "tests/api/test_reports.py::test_get_report_requires_completion",
    "tests/api/test_status.py::test_get_status_forbidden",
    "tests/api/test_stream.py::test_sse_connection_and_completion",
}
