"""Results come in order, few are begun ahead, and what fails or stops early leaves nothing running."""

import threading

import pytest

from xraylib.data.parallel import in_order


def test_order_is_kept_and_no_more_is_begun_than_wanted():
    begun = []
    found = in_order(lambda i: begun.append(i) or i * i, range(50), threads=2)
    assert next(found) == 0
    assert len(begun) <= 8
    assert list(found) == [i * i for i in range(1, 50)]


def test_all_threads_work_at_once():
    both = threading.Barrier(2, timeout=30)  # broken, and so an error, unless two are there at the same time
    assert sorted(in_order(lambda _: both.wait(), range(2), threads=2)) == [0, 1]


def test_what_one_item_raises_reaches_the_caller_and_the_rest_is_not_begun():
    begun = []

    def third_fails(i):
        begun.append(i)
        return 1 / (i - 3)

    with pytest.raises(ZeroDivisionError):
        list(in_order(third_fails, range(1000), threads=2))
    assert len(begun) < 20
