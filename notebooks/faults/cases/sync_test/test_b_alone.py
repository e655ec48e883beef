import pytest
from conftest import CURE

if CURE == "async-test":

    @pytest.mark.asyncio(loop_scope="module")
    async def test_number(parcel):
        assert parcel == 7

else:

    def test_number(parcel):
        assert parcel == 7
