"""Votes: who is asked, and what counts as a majority."""

import pytest
import torch
from torch import nn

from pytest_robustness.defenses import SmoothingVote, Vote
from pytest_robustness.defenses.voting import majority
from pytest_robustness.errors import InputError
from pytest_robustness.perturbations import JPEG, GaussianBlur, GaussianNoise, fixed, gaussian_blur
from pytest_robustness.types import ABSTAIN, Decision, Defense
from tests.attack_models import Shown, streams


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


def decided(vote: SmoothingVote | Vote, model: object, images: torch.Tensor, at_a_time: int = 100) -> Decision:
    return vote.decide(Shown(model, at_a_time), images, streams(len(images)))  # type: ignore[arg-type]


def votes_of(vote: SmoothingVote | Vote, model: object, images: torch.Tensor, at_a_time: int = 100) -> torch.Tensor:
    votes = decided(vote, model, images, at_a_time).votes
    assert votes is not None
    return votes


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
    votes = votes_of(SmoothingVote(), model, images)
    (seen,) = model.seen  # all voters in one forward
    assert torch.equal(seen, torch.cat([images, once, twice]))
    assert torch.equal(votes, torch.stack([model(shown).argmax(1) for shown in (images, once, twice)]))
    assert len(votes.unique()) > 1


@pytest.mark.parametrize(("kernel", "sigma", "passes"), [(3, 1.0, 2), (5, 0.4, 2), (7, 2.5, 3), (3, 0.7, 5)])
def test_kernel_sigma_and_passes_are_those_of_the_blurs(kernel: int, sigma: float, passes: int) -> None:
    images, model = noise_images(), Watching()
    vote = SmoothingVote(kernel=kernel, sigma=sigma, passes=passes)
    votes = votes_of(vote, model, images)
    assert votes.shape == (passes + 1, len(images))
    assert votes.dtype == torch.int64
    assert len(vote.voters) == vote.view_count == passes + 1
    assert vote.voters[:4] == ("none", "single", "double", "3 times")[: passes + 1]
    expected = images
    for shown in model.seen[0].reshape(passes + 1, *images.shape):
        assert torch.equal(shown, expected)
        expected = gaussian_blur(expected, kernel=kernel, sigma=sigma)


@pytest.mark.parametrize("vote", [SmoothingVote(), Vote((None, gaussian_blur))])
def test_a_vote_is_a_defense_and_leaves_the_images_as_they_were(vote: SmoothingVote | Vote) -> None:
    images = noise_images()
    assert isinstance(vote, Defense)
    decided(vote, Watching(), images)
    assert torch.equal(images, noise_images())


def test_the_voters_share_batches_of_the_size_that_the_model_takes() -> None:
    images, model = noise_images(), Watching()
    together = votes_of(SmoothingVote(), model, images)
    model.seen.clear()
    assert torch.equal(votes_of(SmoothingVote(), model, images, at_a_time=5), together)
    assert [len(seen) for seen in model.seen] == [5, 5, 5, 3]


def test_a_decision_counts_how_often_each_class_was_said() -> None:
    images, model = noise_images(), Watching()
    decision = decided(SmoothingVote(), model, images)
    assert decision.votes is not None
    for row in range(len(images)):
        assert decision.counts[row].tolist() == [(decision.votes[:, row] == label).sum() for label in range(3)]
    assert torch.equal(decision.answers, majority(decision.votes))
    assert decision.asked.tolist() == [3] * len(images)
    assert decision.radii is None


def test_any_filters_can_be_voters() -> None:
    class Dim(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images * 0.5

    def bright(images: torch.Tensor) -> torch.Tensor:
        return images * 0.5 + 0.5

    images, model = noise_images(), Watching()
    blurred = GaussianBlur()(images, torch.full((len(images),), 1.5), streams(len(images)))
    vote = Vote((None, Dim(), bright, fixed(GaussianBlur(), 1.5)))
    assert vote.voters == ("none", "Dim", "bright", "fixed(GaussianBlur(), 1.5)")
    assert repr(vote) == "Vote((None, Dim, bright, fixed(GaussianBlur(), 1.5)))"
    expected = (images, images * 0.5, images * 0.5 + 0.5, blurred)
    assert torch.allclose(vote.views(images, streams(len(images))), torch.stack(expected))
    assert torch.equal(votes_of(vote, model, images), torch.stack([model(shown).argmax(1) for shown in expected]))


def test_a_vote_of_one_filter_is_that_filter_in_front_of_the_model() -> None:
    images, model = noise_images(), Watching()
    vote = Vote((gaussian_blur,))
    assert repr(vote) == "Vote((gaussian_blur,))"
    assert torch.equal(decided(vote, model, images).answers, model(gaussian_blur(images)).argmax(1))


def test_votes_of_blurs_are_a_smoothing_vote() -> None:
    def twice(images: torch.Tensor) -> torch.Tensor:
        return gaussian_blur(gaussian_blur(images))

    images, model = noise_images(), Watching()
    assert torch.equal(
        votes_of(Vote((None, gaussian_blur, twice)), model, images), votes_of(SmoothingVote(), model, images)
    )


def test_a_random_filter_draws_by_the_image() -> None:
    images = noise_images()
    vote = Vote((fixed(GaussianNoise(), 0.1), fixed(GaussianNoise(), 0.1)))
    first, second = vote.views(images, streams(len(images)))
    assert not torch.equal(first, second)
    alone = vote.views(images[[2]], streams(len(images)).select([2]))
    assert torch.equal(alone[0], first[[2]])


def test_a_denoiser_is_run_in_eval_mode_without_gradients_of_its_own_and_left_as_it_was() -> None:
    class Denoiser(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            self.modes: list[tuple[bool, bool]] = []

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.modes.append((self.training, self.conv.weight.requires_grad))
            return images + 0.01 * self.conv(images)

    denoiser, images = Denoiser().train(), noise_images().requires_grad_()
    views = Vote((None, denoiser)).views(images, streams(len(images)))
    views.sum().backward()
    assert denoiser.modes == [(False, False)]
    assert denoiser.training
    assert denoiser.conv.weight.requires_grad
    assert denoiser.conv.weight.grad is None
    assert images.grad is not None


def grows(images: torch.Tensor) -> torch.Tensor:
    return torch.cat([images, images], 3)


def breaks(images: torch.Tensor) -> torch.Tensor:
    return images / 0


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (
            (None, grows),
            "Vote((None, grows)): expected the filter grows to return floats of shape (6, 3, 8, 7), got (6, 3, 8, 14)",
        ),
        ((breaks,), "Vote((breaks,)): expected finite pixels from the filter breaks, got NaN or infinity"),
    ],
)
def test_a_filter_that_returns_something_else_is_named(filters: tuple[object, ...], message: str) -> None:
    with pytest.raises(InputError) as error:
        decided(Vote(filters), Watching(), noise_images())  # type: ignore[arg-type]
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (
            (),
            "Vote: expected a tuple of filters, got (); write Vote((None, denoiser, ...)), None for the image as it is",
        ),
        (
            "blur",
            "Vote: expected a tuple of filters, got 'blur'; write Vote((None, denoiser, ...)), None for the image as it is",
        ),
        (
            (None, GaussianBlur()),
            "Vote: expected filters that map images to images of the same shape, or None for none, got GaussianBlur(); fix its "
            "strength, as in fixed(GaussianBlur(), 1.0)",
        ),
        (
            (None, JPEG),
            "Vote: expected filters that map images to images of the same shape, or None for none, got JPEG; fix its strength, as in "
            "fixed(GaussianBlur(), 1.0)",
        ),
        (
            (None, 3),
            "Vote: expected filters that map images to images of the same shape, or None for none, got 3; make it a function",
        ),
    ],
    ids=str,
)
def test_what_is_no_filter_is_refused(filters: object, message: str) -> None:
    with pytest.raises(InputError) as error:
        Vote(filters)  # type: ignore[arg-type]
    assert str(error.value) == message


def test_an_image_gets_the_same_votes_alone_and_in_another_order() -> None:
    images, model = noise_images(), Watching()
    together = votes_of(SmoothingVote(), model, images)
    assert torch.equal(votes_of(SmoothingVote(), model, images.flip(0)), together.flip(1))
    for row in range(len(images)):
        assert torch.equal(votes_of(SmoothingVote(), model, images[[row]])[:, 0], together[:, row])


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
        decided(SmoothingVote(kernel=7), Watching(), noise_images(2, 3, 9))
    assert str(error.value) == "SmoothingVote(kernel=7): expected images larger than 3 pixels, got 9 x 3"


def test_an_image_just_large_enough_for_the_kernel_is_fine() -> None:
    images = noise_images(2, 4, 4)
    assert votes_of(SmoothingVote(kernel=7), Watching(3 * 4 * 4), images).shape == (3, 2)


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
