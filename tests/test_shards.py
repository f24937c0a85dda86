"""Shares by names alone: every name in one, the same one everywhere."""

import pytest

from pytest_robustness.shards import Shard, items_digest

NAMES = [f"{name}/{number}.png" for name in ("dark", "bright", "grün", "broken\udcff") for number in range(500)]


@pytest.mark.parametrize("of", [1, 2, 3, 8, 64])
def test_every_name_is_in_one_share(of: int) -> None:
    shards = [Shard(number, of) for number in range(1, of + 1)]
    assert all(sum(shard.takes(name) for shard in shards) == 1 for name in NAMES)


def test_shares_are_about_equal() -> None:
    """2,000 names in 8 shares: 250 each, give or take five times the standard deviation of 15."""
    counts = [sum(Shard(number, 8).takes(name) for name in NAMES) for number in range(1, 9)]
    assert all(175 < count < 325 for count in counts)


def test_a_name_stays_in_its_share_in_every_process_and_version() -> None:
    """Recorded: Python's own hash of a text is another one in every process."""
    taken = [
        number
        for name in ("dark/0.png", "dark/1.png", "t.py::test[a]")
        for number in range(1, 9)
        if Shard(number, 8).takes(name)
    ]
    assert taken == [7, 8, 8]


@pytest.mark.parametrize(("text", "shard"), [("1/1", Shard(1, 1)), ("2/8", Shard(2, 8)), ("08/10", Shard(8, 10))])
def test_a_shard_is_written_as_its_number_and_how_many_there_are(text: str, shard: Shard) -> None:
    assert Shard.parse(text) == shard
    assert Shard.parse(str(shard)) == shard


@pytest.mark.parametrize("text", ["", "2", "0/8", "9/8", "2/0", "-1/8", "2/8/3", "2 / 8", "a/b", "\uff12/8"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected a shard as I/N") as error:
        Shard.parse(text)
    assert str(error.value) == f"expected a shard as I/N with 1 <= I <= N, such as 2/8, got {text!r}"


def test_a_shard_has_a_title() -> None:
    assert Shard(2, 8).title == "shard 2 of 8"


def test_the_digest_of_tests_depends_on_which_they_are_and_not_on_their_order() -> None:
    assert items_digest(["a", "b"]) == items_digest(["b", "a"])
    assert len({items_digest(ids) for ids in ([], ["a"], ["a", "b"], ["ab"], ["a", "c"])}) == 5
