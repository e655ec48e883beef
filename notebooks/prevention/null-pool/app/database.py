import os

from sqlalchemy import NullPool
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
SessionFactory = async_sessionmaker(engine, expire_on_commit=False)
