"""Settings, read from the environment once, when the process starts."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field


def _flag(name: str, default: bool) -> bool:
    value = os.environ.get(name)
    return default if value is None else value.strip().lower() in ("1", "true", "yes", "on")


@dataclass
class Settings:
    """What differs between a laptop, a test run and production."""

    database_url: str = field(
        default_factory=lambda: os.environ.get("DATABASE_URL", "postgresql+asyncpg://localhost/signal_scanner")
    )
    pool_pre_ping: bool = field(default_factory=lambda: _flag("SIGNAL_SCANNER_POOL_PRE_PING", True))
    pool: str = field(default_factory=lambda: os.environ.get("SIGNAL_SCANNER_POOL", "queue"))
    """``"queue"``, or ``"null"`` where PgBouncer (session mode) does the pooling."""

    token_secret: str = field(
        default_factory=lambda: os.environ.get("SIGNAL_SCANNER_TOKEN_SECRET") or secrets.token_urlsafe(48)
    )
    """Signs the tokens. Without one in the environment, tokens are good until the process ends."""
    token_minutes: float = 60.0
    password_profile: str = field(
        default_factory=lambda: os.environ.get("SIGNAL_SCANNER_PASSWORD_PROFILE", "RFC_9106_LOW_MEMORY")
    )
    """A name from ``argon2.profiles``; ``"CHEAPEST"`` is for tests alone."""

    stream_poll_seconds: float = 0.5
    stream_time_limit: float = 300.0
    """Seconds after which a stream ends even if its task has not; the client may connect again."""

    broker_url: str = field(default_factory=lambda: os.environ.get("SIGNAL_SCANNER_BROKER_URL", "memory://localhost"))
    celery_eager: bool = field(default_factory=lambda: _flag("SIGNAL_SCANNER_CELERY_EAGER", False))


settings = Settings()
