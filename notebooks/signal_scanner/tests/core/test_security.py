"""Password hashes and access tokens."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import jwt
import pytest

from app.core.config import settings
from app.core.security import (
    ALGORITHM,
    InvalidToken,
    create_access_token,
    hash_password,
    read_access_token,
    verify_password,
)


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "password_profile", "CHEAPEST")


def test_hash_password_roundtrip() -> None:
    stored = hash_password("SecurePass123!")
    assert verify_password("SecurePass123!", stored)
    assert hash_password("SecurePass123!") != stored  # each hash has a salt of its own


def test_verify_password_rejects_wrong_password_and_damaged_hash() -> None:
    stored = hash_password("SecurePass123!")
    assert not verify_password("securepass123!", stored)
    assert not verify_password("SecurePass123!", stored[:-4])
    assert not verify_password("SecurePass123!", "no hash at all")


def test_token_names_its_account_until_it_expires() -> None:
    account_id = uuid4()
    assert read_access_token(create_access_token(account_id)) == account_id
    with pytest.raises(InvalidToken, match="expired"):
        read_access_token(create_access_token(account_id, expires_in=timedelta(seconds=-1)))


def test_token_signed_by_somebody_else_is_rejected() -> None:
    claims = jwt.decode(create_access_token(uuid4()), settings.token_secret, algorithms=[ALGORITHM])
    with pytest.raises(InvalidToken):
        read_access_token(jwt.encode(claims, "another secret of at least 32 bytes", algorithm=ALGORITHM))
    with pytest.raises(InvalidToken):
        read_access_token(jwt.encode(claims, "", algorithm="none"))
