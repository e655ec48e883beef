"""Password hashes and access tokens."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from uuid import UUID

import jwt
from argon2 import PasswordHasher, profiles
from argon2.exceptions import InvalidHashError, VerificationError

from app.core.config import settings

ALGORITHM = "HS256"


class InvalidToken(Exception):
    """The token is not ours, has expired, or names no account."""


def hash_password(password: str) -> str:
    """Argon2 hash of a password, with its salt and cost in it."""
    return PasswordHasher.from_parameters(getattr(profiles, settings.password_profile)).hash(password)


def verify_password(password: str, stored: str) -> bool:
    """Whether `password` is the one that `stored` was made from. A damaged hash matches nothing."""
    try:
        return PasswordHasher().verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


@functools.cache
def absent_hash() -> str:
    """Hash of nobody's password: a login to an unknown address takes as long as one to a known address."""
    return hash_password("nobody's password")


def create_access_token(account_id: UUID, expires_in: timedelta | None = None) -> str:
    """Signed token that names the account, good for `expires_in` (default: the settings' ``token_minutes``)."""
    now = datetime.now(UTC)
    lifetime = timedelta(minutes=settings.token_minutes) if expires_in is None else expires_in
    claims = {"sub": str(account_id), "iat": now, "exp": now + lifetime}
    return jwt.encode(claims, settings.token_secret, algorithm=ALGORITHM)


def read_access_token(token: str) -> UUID:
    """Account that the token names.

    Raises:
        InvalidToken: see there.
    """
    try:
        claims = jwt.decode(
            token, settings.token_secret, algorithms=[ALGORITHM], options={"require": ["sub", "exp"]}
        )
        return UUID(claims["sub"])
    except (jwt.InvalidTokenError, ValueError) as error:
        raise InvalidToken(str(error)) from error
