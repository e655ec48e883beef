from app.main import app
from four_times import attempt, tasks
from starlette.testclient import TestClient

client = TestClient(app)
for _ in tasks:
    attempt(client.post, "/api/auth/login", json={"email": "mina@example.org", "password": "not hers"})
