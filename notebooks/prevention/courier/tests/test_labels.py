from app.labels import count_labels, write_labels


async def test_labels_are_written():
    before = await count_labels()
    await write_labels(["A1", "B2"])
    assert await count_labels() == before + 2


async def test_a_parcel_may_have_two_labels():
    before = await count_labels()
    await write_labels(["A1", "A1"])
    assert await count_labels() == before + 2
