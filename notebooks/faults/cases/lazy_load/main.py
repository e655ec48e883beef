"""A lazy load after the query: database work where no await stands."""

import asyncio
import os

from sqlalchemy import ForeignKey, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload

CURE = os.environ.get("CURE")


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    reports: Mapped[list["Report"]] = relationship()


class Report(Base):
    __tablename__ = "reports"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"))


async def main():
    engine = create_async_engine(os.environ["DATABASE_URL"])
    query = select(User).limit(1)
    async with AsyncSession(engine) as session:
        user = await session.scalar(
            query.options(selectinload(User.reports)) if CURE == "load-early" else query
        )
        print(len(user.reports))
    await engine.dispose()


asyncio.run(main())
