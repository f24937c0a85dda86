"""Square by its schedule, by what one query changes, and by what it keeps."""

import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from pytest_robustness.attacks import Miss, Square
from pytest_robustness.attacks.square import side
from pytest_robustness.norms import length
from pytest_robustness.types import Norm
from tests.attack_models import Endless, Linear, accepted, attacked, convnet, near_grey, noise_images, streams

norms = pytest.mark.parametrize("norm", ["linf", "l2"])
REFERENCE = Path(__file__).parents[2] / "shared" / "reference.json"


class Seen:
    """A small network that remembers what it was shown, and what it said."""

    def __init__(self, classes: int = 3) -> None:
        self.model = convnet(classes)
        self.shown: list[torch.Tensor] = []

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        assert not torch.is_grad_enabled()
        self.shown.append(images.clone())
        logits: torch.Tensor = self.model(images)
        return logits


def searched(queries: int, norm: Norm, *, n: int = 4, epsilon: float = 0.1, seed: int = 0) -> tuple[Seen, torch.Tensor]:
    """What a search that never ends is shown, and where it ends."""
    model, images = Seen(), noise_images(n)
    goal, epsilons = Endless(Miss(accepted([0] * n, 3))), torch.full((n,), epsilon)
    return model, Square(queries, norm).against(model, goal, images, epsilons, streams(n, seed))


def margin(images: torch.Tensor) -> torch.Tensor:
    """That of another class than the first, in the small network."""
    return Miss(accepted([0] * len(images), 3)).objective(convnet()(images), "margin")


@pytest.mark.parametrize(
    ("query", "sides"),
    [
        (0, (29, 200)),
        (10, (29, 200)),
        (11, (20, 142)),
        (51, (14, 100)),
        (201, (10, 71)),
        (1001, (5, 35)),
        (9000, (1, 9)),
    ],
)
def test_squares_begin_at_a_share_of_the_pixels_that_is_halved_again_and_again(
    query: int, sides: tuple[int, int]
) -> None:
    assert (side(query, 32, 32), side(query, 224, 224)) == sides


@pytest.mark.skipif(not REFERENCE.is_file(), reason="../shared/reference.json is not there")
def test_the_sides_are_those_of_the_reference() -> None:
    reference = json.loads(REFERENCE.read_text(encoding="utf-8"))["square_linf_side"]
    ours = {
        size: {query: side(int(query), int(size), int(size)) for query in table} for size, table in reference.items()
    }
    assert ours == reference


def test_a_side_is_at_least_one_pixel_and_fits_into_the_image() -> None:
    assert side(9000, 6, 6) == 1
    assert side(0, 4, 100, 1.0) == 4
    assert side(0, 32, 32, 0.05) == round(math.sqrt(0.05 * 32 * 32))


def test_the_first_query_is_of_vertical_stripes_of_full_epsilon() -> None:
    model, _ = searched(1, "linf")
    images, stripes = noise_images(4), model.shown[1]
    assert torch.equal(model.shown[0], images)
    signs = (stripes - images).sign()
    assert torch.equal(signs, signs[:, :, :1].expand_as(signs))
    expected = (images + 0.1 * signs).clamp(0, 1)
    assert torch.allclose(stripes, expected, rtol=0, atol=1e-7)
    assert len({tuple(row.flatten().tolist()) for row in signs}) == 4


def test_each_later_query_in_linf_gives_one_square_another_colour() -> None:
    model, _ = searched(80, "linf")
    images, best = noise_images(4), model.shown[1]
    for query, shown in enumerate(model.shown[2:], 1):
        length_of_side = side(query, 6, 6)
        changed = (shown != best).any(1)
        for row in range(4):
            places = changed[row].nonzero()
            if len(places):
                top, left = places.amin(0).tolist()
                assert ((places - places.amin(0)) < length_of_side).all()
                # One colour: what is in the square is the image and the same three signs everywhere.
                square = (slice(None), slice(top, places[:, 0].max() + 1), slice(left, places[:, 1].max() + 1))
                away = (shown[row] - images[row])[square]
                assert all(
                    len({value for value in channel.sign().flatten().tolist() if value}) <= 1 for channel in away
                )
        better = margin(shown) > margin(best)
        best = torch.where(better.reshape(-1, 1, 1, 1), shown, best)


def test_what_does_not_bring_an_image_nearer_is_not_kept() -> None:
    model, found = searched(60, "linf")
    values = torch.stack([margin(shown) for shown in model.shown[1:]])
    assert torch.allclose(margin(found), values.amax(0))
    assert (values.amax(0) > values[0]).all()


@norms
def test_an_image_that_holds_is_shown_as_often_as_there_are_queries_and_once_before(norm: Norm) -> None:
    model, _ = searched(37, norm)
    assert [len(shown) for shown in model.shown] == [4] * 38


@norms
def test_a_longer_search_goes_on_where_a_shorter_one_ends(norm: Norm) -> None:
    short, long = (searched(queries, norm)[0] for queries in (70, 150))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(short.shown, long.shown, strict=False))


@norms
def test_the_squares_belong_to_the_image_and_the_seed(norm: Norm) -> None:
    once, again, other = (searched(20, norm, seed=seed)[1] for seed in (0, 0, 1))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_in_l2_the_search_begins_and_stays_at_the_edge_of_the_ball() -> None:
    """As far as 0 and 1 allow: from greys nothing is cut off."""
    model, images = Seen(), 0.5 + 0.1 * (noise_images(4) - 0.5)
    goal = Endless(Miss(accepted([0] * 4, 3)))
    found = Square(40, "l2").against(model, goal, images, torch.full((4,), 0.8), streams(4))
    for shown in (*model.shown[1:], found):
        assert torch.allclose(length(shown - images, "l2"), torch.full((4,), 0.8), atol=1e-5)


def test_in_l2_a_query_moves_the_change_of_one_square_into_another_one() -> None:
    """Outside of the two windows the change stays what it was; in every channel its length does."""
    images = 0.5 + 0.1 * (noise_images(4, 20) - 0.5)

    def model(batch: torch.Tensor) -> torch.Tensor:
        seen.append(batch.clone())
        return torch.stack([1 + 0 * batch.mean((1, 2, 3)), batch.mean((1, 2, 3))], 1)

    seen: list[torch.Tensor] = []
    goal = Endless(Miss(accepted([0] * 4, 2)))
    Square(40, "l2", share=0.05).against(model, goal, images, torch.full((4,), 0.5), streams(4))
    best = seen[1]
    moved = 0
    for query, shown in enumerate(seen[2:], 1):
        width = max(3, side(query, 20, 20, 0.05) // 2 * 2 + 1)
        for row in range(4):
            before, after = best[row] - images[row], shown[row] - images[row]
            changed = ((after - before).abs() > 1e-6).any(0)
            assert changed.sum() <= 2 * width * width
            emptied = changed & (after.abs() < 1e-6).all(0)
            moved += bool(emptied.any())
            assert torch.allclose(after.norm(dim=(1, 2)), before.norm(dim=(1, 2)), atol=1e-4)
        better = shown.mean((1, 2, 3)) > best.mean((1, 2, 3))
        best = torch.where(better.reshape(-1, 1, 1, 1), shown, best)
    assert moved > 100


@pytest.mark.parametrize("shape", [(3, 5, 9), (1, 8, 8), (3, 1, 1), (3, 2, 7)])
@norms
def test_images_of_any_shape_are_searched(norm: Norm, shape: tuple[int, int, int]) -> None:
    images = torch.full((2, *shape), 0.5)

    def model(batch: torch.Tensor) -> torch.Tensor:
        mean = batch.mean((1, 2, 3))
        return torch.stack([1 + 0 * mean, mean], 1)

    found = attacked(Square(30, norm), model, images, 0.2)
    assert (length(found - images, norm) <= 0.2 + 1e-6).all()
    assert (found.mean((1, 2, 3)) > 0.5).all()


@norms
def test_a_linear_model_flips_well_beyond_its_distance(norm: Norm) -> None:
    """A thousand random squares come within a third of the best direction's length in Linf, four times it in L2."""
    model, images = Linear(), near_grey()
    enough = 1.34 if norm == "linf" else 4.0
    distance = model.distance(images, norm)
    assert (model.margin(attacked(Square(1000, norm), model, images, 0.999 * distance)) > 0).all()
    assert (model.margin(attacked(Square(1000, norm), model, images, enough * distance)) < 0).all()


def test_images_leave_at_their_first_success() -> None:
    model, images = Seen(5), noise_images(30)
    goal = Miss(F.one_hot(convnet(5)(images).argmax(1), 5).bool())
    found = Square(100).against(model, goal, images, torch.full((30,), 0.1), streams(30))
    sizes = [len(shown) for shown in model.shown]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 30
    assert sizes[-1] == 30 - goal.reached(convnet(5)(found)).sum().item()
    assert 0 < sizes[-1] < 30
