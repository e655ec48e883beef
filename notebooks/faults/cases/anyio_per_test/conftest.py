import backend
import pytest
from sqlalchemy.ext.asyncio import create_async_engine


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"


if backend.CURE == "anyio-one-loop":

    @pytest.fixture(scope="session", autouse=True)
    async def one_loop(anyio_backend):
        yield
        await backend.engine.dispose()


if backend.CURE == "dispose":

    @pytest.fixture(autouse=True)
    async def dispose(anyio_backend):
        yield
        await backend.engine.dispose()


if backend.CURE == "function-engine":

    @pytest.fixture(autouse=True)
    async def engine(anyio_backend):
        engine = create_async_engine(backend.url)
        backend.Session.configure(bind=engine)
        yield
        backend.Session.configure(bind=backend.engine)
        await engine.dispose()
