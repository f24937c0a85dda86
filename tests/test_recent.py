"""Tensors kept up to a number of bytes: never more, and those used last."""

import threading

import torch

from pytest_robustness.recent import Recent


def of(number: int, bytes_: int = 10) -> torch.Tensor:
    return torch.full((bytes_,), number, dtype=torch.uint8)


def kept(recent: Recent[str], keys: str) -> str:
    """Those of the keys that are still there; asking makes each the last one used, in this order."""
    return "".join(key for key in keys if recent.get(key) is not None)


def test_what_was_put_is_found_and_what_was_not_is_none() -> None:
    recent: Recent[tuple[str, int]] = Recent(100)
    tensor = of(1)
    recent.put(("a", 1), tensor)
    found = recent.get(("a", 1))
    assert found is not None
    assert torch.equal(found, tensor)
    assert recent.get(("a", 2)) is None


def test_what_is_found_and_what_was_put_may_be_written_to() -> None:
    recent: Recent[str] = Recent(100)
    tensor = of(1)
    recent.put("a", tensor)
    tensor.fill_(2)
    found = recent.get("a")
    assert found is not None
    found.fill_(3)
    again = recent.get("a")
    assert again is not None
    assert torch.equal(again, of(1))


def test_a_tensor_keeps_its_type_and_its_layout() -> None:
    recent: Recent[str] = Recent(10_000)
    tensor = torch.rand(6, 5, 3).permute(2, 0, 1)
    recent.put("a", tensor)
    found = recent.get("a")
    assert found is not None
    assert torch.equal(found, tensor)
    assert (found.dtype, found.stride()) == (torch.float32, tensor.stride())


def test_as_much_as_the_limit_is_kept_and_one_byte_more_is_not() -> None:
    recent: Recent[str] = Recent(30)
    for key in "abc":
        recent.put(key, of(0))
    assert kept(recent, "abc") == "abc"
    recent.put("d", of(0))
    assert kept(recent, "abcd") == "bcd"
    less: Recent[str] = Recent(29)
    for key in "abc":
        less.put(key, of(0))
    assert kept(less, "abc") == "bc"


def test_the_least_recently_used_leaves_first() -> None:
    recent: Recent[str] = Recent(30)
    for key in "abc":
        recent.put(key, of(0))
    recent.get("a")
    recent.put("d", of(0))
    assert kept(recent, "abcd") == "acd"


def test_putting_a_key_again_makes_it_the_last_one_used() -> None:
    recent: Recent[str] = Recent(30)
    for key in "abca":
        recent.put(key, of(0))
    recent.put("d", of(0))
    assert kept(recent, "abcd") == "acd"


def test_one_of_another_shape_or_type_drops_all_others() -> None:
    """The images of a set have one shape; one that has not is an error elsewhere."""
    recent: Recent[str] = Recent(40)
    for other in (of(0, 21), torch.zeros(10, dtype=torch.int8)):
        for key in "abcd":
            recent.put(key, of(0))
        recent.put("e", other)
        assert kept(recent, "abcde") == "e"


def test_one_above_the_limit_is_not_kept_and_drops_no_other() -> None:
    recent: Recent[str] = Recent(30)
    for key in "ab":
        recent.put(key, of(0))
    recent.put("c", of(0, 31))
    assert kept(recent, "abc") == "ab"


def test_one_above_the_limit_takes_the_place_of_what_its_key_had() -> None:
    """An old tensor under a key that was given another one would be a wrong answer."""
    recent: Recent[str] = Recent(30)
    for key in "ab":
        recent.put(key, of(0))
    recent.put("a", of(1, 31))
    assert kept(recent, "ab") == "b"
    for key in "cd":
        recent.put(key, of(0))
    assert kept(recent, "bcd") == "bcd"


def test_a_replaced_tensor_counts_no_longer() -> None:
    recent: Recent[str] = Recent(30)
    for number in range(10):
        recent.put("a", of(number))
    for key in "bc":
        recent.put(key, of(0))
    assert kept(recent, "abc") == "abc"
    found = recent.get("a")
    assert found is not None
    assert found[0] == 9


def test_bytes_are_counted_and_not_elements() -> None:
    recent: Recent[str] = Recent(32)
    for key in "abc":
        recent.put(key, torch.zeros(2, dtype=torch.float64))
    assert kept(recent, "abc") == "bc"


def test_after_clearing_nothing_is_left_and_there_is_room_again() -> None:
    recent: Recent[str] = Recent(30)
    for key in "abc":
        recent.put(key, of(0))
    recent.clear()
    assert kept(recent, "abc") == ""
    for key in "def":
        recent.put(key, of(0))
    assert kept(recent, "def") == "def"


def test_threads_that_put_at_once_leave_no_more_than_the_limit() -> None:
    recent: Recent[int] = Recent(50)
    wrong: list[int] = []

    def work(thread: int) -> None:
        for turn in range(300):
            key = (7 * turn + thread) % 20
            recent.put(key, of(key))
            found = recent.get((key + 1) % 20)
            if found is not None and found[0] != (key + 1) % 20:
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sum(recent.get(key) is not None for key in range(20)) == 5
    for key in range(20, 25):
        recent.put(key, of(key))
    assert all(recent.get(key) is not None for key in range(20, 25))
