"""Draws by what they leave visible, and by what they count for."""

from collections.abc import Sequence

import pytest
import torch

from pytest_robustness.explanations.draws import Anchor, Draws
from pytest_robustness.explanations.hiding import Asked
from tests.attack_models import streams

K = 6


def answered(draws: Draws, anchors: Sequence[Anchor], each: int) -> tuple[Asked, torch.Tensor]:
    """The masks, and what an answerer says of them that keeps the class where superpixels 0 and 1 are alike."""
    drawing = draws.draw(anchors, each)
    asked = next(drawing)
    with pytest.raises(StopIteration) as ended:
        drawing.send(asked.masks[:, 0] == asked.masks[:, 1])
    return asked, ended.value.value


def test_an_anchor_is_always_visible_and_the_rest_with_its_probability() -> None:
    asked, _ = answered(Draws(0.3, K, streams(1)), [(), (1, 4)], 2000)
    assert asked.masks.shape == (4000, K)
    shares = asked.masks.double().reshape(2, 2000, K).mean(1)
    expected = torch.full((2, K), 0.3, dtype=torch.float64)
    expected[1, [1, 4]] = 1
    assert torch.allclose(shares, expected, atol=0.05)
    assert (shares[1, [1, 4]] == 1).all()
    assert ((asked.chances >= 0) & (asked.chances < 1)).all()


def test_no_draw_is_made_twice_and_each_belongs_to_the_image_and_the_seed() -> None:
    draws = Draws(0.5, K, streams(1))
    first, second = (answered(draws, [()], 50)[0] for _ in range(2))
    assert not torch.equal(first.masks, second.masks)
    again, other = (answered(Draws(0.5, K, streams(1, seed)), [()], 50)[0] for seed in (0, 1))
    assert torch.equal(first.masks, again.masks)
    assert not torch.equal(first.masks, other.masks)
    assert draws.used == 100


def test_the_answers_come_back_in_the_order_of_the_masks() -> None:
    asked, hits = answered(Draws(0.5, K, streams(1)), [(2,), (3,)], 20)
    assert torch.equal(hits, asked.masks[:, 0] == asked.masks[:, 1])


def test_a_draw_counts_for_every_anchor_that_it_shows_and_that_contains_the_one_it_was_made_for() -> None:
    draws = Draws(0.5, K, streams(1))
    made = [((), 40), ((2,), 30), ((0, 2), 20), ((5,), 10)]
    shown = [(set(anchor), answered(draws, [anchor], each)) for anchor, each in made]
    asking: list[Anchor] = [(), (0,), (2,), (0, 2), (1, 2), (0, 2, 5), (0, 1, 2, 3, 4, 5)]
    hits, counts = draws.tally(asking)
    for anchor, hit, count in zip(asking, hits.tolist(), counts.tolist(), strict=True):
        counting = [
            bool(kept)
            for made_for, (asked, answers) in shown
            for mask, kept in zip(asked.masks, answers, strict=True)
            if made_for <= set(anchor) and mask[list(anchor)].all()
        ]
        assert (hit, count) == (sum(counting), len(counting))


def test_draws_that_count_say_the_same_as_draws_made_for_it() -> None:
    """Superpixels 0 and 1 are alike in half of all draws, in half of those that show 0, and in all that show both."""
    draws = Draws(0.5, K, streams(1))
    answered(draws, [()], 8000)
    hits, counts = draws.tally([(), (0,), (0, 3), (0, 1)])
    assert torch.allclose(counts, torch.tensor([8000.0, 4000, 2000, 2000]).double(), rtol=0.1)
    assert torch.allclose(hits / counts, torch.tensor([0.5, 0.5, 0.5, 1]).double(), atol=0.04)


def test_before_the_first_draw_there_is_nothing_to_count() -> None:
    hits, counts = Draws(0.5, K, streams(1)).tally([(), (1,)])
    assert (hits.tolist(), counts.tolist()) == ([0, 0], [0, 0])
