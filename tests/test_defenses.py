"""Votes: who is asked, and what counts as a majority."""

import pytest
import torch

from pytest_robustness.defenses import ABSTAIN, SmoothingVote, majority
from pytest_robustness.errors import InputError
from pytest_robustness.perturbations import gaussian_blur
from pytest_robustness.types import Voter


def noise_images(n: int = 6, height: int = 8, width: int = 7) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


class Watching:
    """Three classes, linear in the pixels; remembers what it was shown."""

    def __init__(self, size: int = 3 * 8 * 7) -> None:
        self.seen: list[torch.Tensor] = []
        self.weight = torch.randn(size, 3, generator=torch.Generator().manual_seed(1))
        self.weight -= self.weight.mean(0)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images.clone())
        return images.flatten(1) @ self.weight


@pytest.mark.parametrize(
    ("votes", "winner"),
    [
        ([4, 4, 4], 4),
        ([4, 4, 1], 4),
        ([4, 1, 4], 4),
        ([1, 4, 4], 4),
        ([0, 0, 1], 0),
        ([4, 1, 2], ABSTAIN),
        ([4, 4, 4, 4], 4),
        ([4, 4, 1, 4], 4),
        ([4, 4, 1, 1], ABSTAIN),
        ([4, 4, 1, 2], ABSTAIN),
        ([0, 1, 2, 3], ABSTAIN),
        ([3, 3, 3, 1, 2], 3),
        ([3, 3, 1, 1, 2], ABSTAIN),
        ([2], 2),
        ([2, 3], ABSTAIN),
    ],
    ids=str,
)
def test_a_majority_is_more_than_half_of_the_voters(votes: list[int], winner: int) -> None:
    assert majority(torch.tensor(votes)[:, None]).tolist() == [winner]


def test_a_majority_is_found_for_each_image_by_itself() -> None:
    votes = torch.tensor([[0, 1, 2, 5], [0, 2, 2, 4], [1, 0, 2, 5]])
    assert majority(votes).tolist() == [0, ABSTAIN, 2, 5]
    for column in range(4):
        assert majority(votes[:, [column]]).item() == majority(votes)[column].item()


def test_the_order_of_the_voters_does_not_matter() -> None:
    votes = torch.randint(0, 3, (4, 50), generator=torch.Generator().manual_seed(0))
    for order in ([3, 2, 1, 0], [1, 3, 0, 2]):
        assert torch.equal(majority(votes[order]), majority(votes))


def test_nobody_can_be_called_abstain() -> None:
    assert ABSTAIN == -1


def test_the_votes_are_the_answers_to_the_image_blurred_once_and_blurred_twice() -> None:
    images, model = noise_images(), Watching()
    once = gaussian_blur(images, kernel=5, sigma=1.0)
    twice = gaussian_blur(once, kernel=5, sigma=1.0)
    votes = SmoothingVote().votes(model, images)
    assert [torch.equal(*pair) for pair in zip(model.seen, (images, once, twice), strict=True)] == [True] * 3
    assert torch.equal(votes, torch.stack([model(shown).argmax(1) for shown in (images, once, twice)]))
    assert len(votes.unique()) > 1


@pytest.mark.parametrize(("kernel", "sigma", "passes"), [(3, 1.0, 2), (5, 0.4, 2), (7, 2.5, 3), (3, 0.7, 5)])
def test_kernel_sigma_and_passes_are_those_of_the_blurs(kernel: int, sigma: float, passes: int) -> None:
    images, model = noise_images(), Watching()
    votes = SmoothingVote(kernel=kernel, sigma=sigma, passes=passes).votes(model, images)
    assert votes.shape == (passes + 1, len(images))
    assert votes.dtype == torch.int64
    assert len(model.seen) == passes + 1
    expected = images
    for shown in model.seen:
        assert torch.equal(shown, expected)
        expected = gaussian_blur(expected, kernel=kernel, sigma=sigma)


def test_a_vote_is_a_voter_and_leaves_the_images_as_they_were() -> None:
    images = noise_images()
    assert isinstance(SmoothingVote(), Voter)
    SmoothingVote().votes(Watching(), images)
    assert torch.equal(images, noise_images())


def test_an_image_gets_the_same_votes_alone_and_in_another_order() -> None:
    images, model = noise_images(), Watching()
    together = SmoothingVote().votes(model, images)
    assert torch.equal(SmoothingVote().votes(model, images.flip(0)), together.flip(1))
    for row in range(len(images)):
        assert torch.equal(SmoothingVote().votes(model, images[[row]])[:, 0], together[:, row])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel": 4}, "SmoothingVote(kernel=4): expected an odd kernel >= 3 (pixels), got 4"),
        ({"kernel": 1}, "SmoothingVote(kernel=1): expected an odd kernel >= 3 (pixels), got 1"),
        ({"kernel": -5}, "SmoothingVote(kernel=-5): expected an odd kernel >= 3 (pixels), got -5"),
        ({"sigma": 0.0}, "SmoothingVote(sigma=0.0): expected sigma > 0 (pixels), got 0.0"),
        ({"sigma": -1.5}, "SmoothingVote(sigma=-1.5): expected sigma > 0 (pixels), got -1.5"),
        ({"sigma": float("nan")}, "SmoothingVote(sigma=nan): expected sigma > 0 (pixels), got nan"),
        (
            {"passes": 1},
            "SmoothingVote(passes=1): expected passes >= 2, so that a vote can have a majority, got 1",
        ),
        (
            {"kernel": 3, "passes": 0},
            "SmoothingVote(kernel=3, passes=0): expected passes >= 2, so that a vote can have a majority, got 0",
        ),
    ],
    ids=str,
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(InputError) as error:
        SmoothingVote(**settings)  # type: ignore[arg-type]
    assert str(error.value) == message


def test_an_image_too_small_for_the_kernel_is_refused() -> None:
    with pytest.raises(InputError) as error:
        SmoothingVote(kernel=7).votes(Watching(), noise_images(2, 3, 9))
    assert str(error.value) == "SmoothingVote(kernel=7): expected images larger than 3 pixels, got 9 x 3"


def test_an_image_just_large_enough_for_the_kernel_is_fine() -> None:
    images = noise_images(2, 4, 4)
    assert SmoothingVote(kernel=7).votes(Watching(3 * 4 * 4), images).shape == (3, 2)


@pytest.mark.parametrize(
    ("vote", "text"),
    [
        (SmoothingVote(), "SmoothingVote()"),
        (SmoothingVote(kernel=5, sigma=1.0, passes=2), "SmoothingVote()"),
        (SmoothingVote(3, 0.5, 4), "SmoothingVote(kernel=3, sigma=0.5, passes=4)"),
    ],
)
def test_the_repr_is_the_shortest_constructor_call(vote: SmoothingVote, text: str) -> None:
    assert repr(vote) == text
    assert eval(text) == vote
