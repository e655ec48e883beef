def test_page(name):
    assert name == "chromium"
