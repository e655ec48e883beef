"""Accounts and tokens."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, status
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from starlette.concurrency import run_in_threadpool

from app.api.deps import Session
from app.core.security import absent_hash, create_access_token, hash_password, verify_password
from app.db.models import Account
from app.schemas import AccountOut, Credentials, TokenOut

router = APIRouter(prefix="/api/auth", tags=["auth"])


@router.post("/register", status_code=status.HTTP_201_CREATED)
async def register(credentials: Credentials, session: Session) -> AccountOut:
    # Hashing takes the processor for a while on purpose: not on the event loop.
    password_hash = await run_in_threadpool(hash_password, credentials.password)
    account = Account(email=credentials.email, password_hash=password_hash)
    session.add(account)
    try:
        await session.commit()  # the unique constraint decides, so two at once cannot both succeed
    except IntegrityError as error:
        raise HTTPException(status.HTTP_409_CONFLICT, "This address is registered already.") from error
    return AccountOut.model_validate(account)


@router.post("/login")
async def login(credentials: Credentials, session: Session) -> TokenOut:
    account = await session.scalar(select(Account).where(Account.email == credentials.email))
    stored = account.password_hash if account else await run_in_threadpool(absent_hash)
    if not await run_in_threadpool(verify_password, credentials.password, stored) or account is None:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, "Address or password is wrong.")
    return TokenOut(access_token=create_access_token(account.id))
