from app.desk import headline


def test_words_begin_with_capitals():
    assert headline("weekly report") == "Weekly Report"


def test_spaces_at_the_ends_go():
    assert headline(" weekly report ") == "Weekly Report"
