"""LIME: weights in closed form, captum's and scikit-learn's regressions, which samples are drawn, and what is not believed."""

import contextlib
import inspect
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch

from pytest_robustness.explanations import Grid, Lime, LimeExplanation, Quickshift, Slic, published_lime
from pytest_robustness.explanations.hiding import Backgrounds, Scene
from pytest_robustness.types import Classifier
from tests.attack_models import convnet, noise_images, streams
from tests.explanation_models import (
    Block,
    Colours,
    Learning,
    classes,
    dim_noise,
    patchwork,
    points_into,
    refused,
    state,
)

GRID = Grid(3, 3)


def explained(
    lime: Lime, model: Classifier, images: torch.Tensor, of: torch.Tensor, **choices: Any
) -> tuple[LimeExplanation, ...]:
    return lime.explain(model, images, of, streams(len(images)), **choices)


@dataclass
class Watched:
    """A classifier that remembers which superpixels of one image it was shown, and what it said."""

    model: Classifier
    image: torch.Tensor
    segments: torch.Tensor
    masks: list[torch.Tensor] = field(default_factory=list)
    logits: list[torch.Tensor] = field(default_factory=list)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        same = (images == self.image).all(1).flatten(1)
        numbers = range(int(self.segments.max()) + 1)
        self.masks.append(torch.stack([same[:, (self.segments == n).flatten()].all(1) for n in numbers], 1))
        self.logits.append(self.model(images))
        return self.logits[-1]

    @property
    def seen(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Masks (samples, s) bool and logits (samples, k), as they came."""
        return torch.cat(self.masks), torch.cat(self.logits)


def watched(lime: Lime, model: Classifier, image: torch.Tensor, of: int) -> tuple[LimeExplanation, Watched]:
    assert lime.segments is not None
    asked = Watched(model, image[0], lime.segments(image)[0])
    return explained(lime, asked, image, classes(of))[0], asked


def kernel(masks: torch.Tensor, width: float = 0.25) -> torch.Tensor:
    """sqrt(exp(-d^2 / width^2)), d the cosine distance to the mask of all superpixels."""
    full = torch.ones_like(masks, dtype=torch.float64)
    distance = 1 - torch.nn.functional.cosine_similarity(masks.double(), full)
    return (-(distance**2) / width**2).exp().sqrt()


def means(images: torch.Tensor) -> torch.Tensor:
    """Images whose superpixels are all hidden by their mean colours."""
    return Scene.of("x", images, GRID(images), "mean").fills[:, 0]


def linear(images: torch.Tensor) -> torch.Tensor:
    """Two classes by sums over pixels, each with a weight of its own."""
    weight = torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(1))
    score = (weight * images).sum((1, 2, 3))
    return torch.stack([-score, score + 3], 1)


def test_of_a_linear_model_the_weights_are_what_each_superpixel_adds() -> None:
    images, other = noise_images(2), noise_images(3)[2:]
    weight = torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(1)).double()
    fills = (("grey", 0.5), (0.25, 0.25), ("mean", means(images)), (Backgrounds(other), other))
    for fill, away in fills:
        adds = (weight * (images - away)).sum(1).reshape(2, 3, 2, 3, 2).sum((2, 4)).flatten(1)
        said = explained(Lime(GRID, ridge=0.0, fill=fill), linear, images, classes(1, 0))  # type: ignore[arg-type]
        for one, expected in zip(said, (adds[0], -adds[1]), strict=True):
            assert torch.allclose(one.weights, expected, rtol=0, atol=1e-5)
            assert one.r2 == pytest.approx(1, abs=1e-9)
            assert torch.equal(one.heat.heat, one.weights.float()[one.segments])
            assert one.heat.note == "R2 1.00 (adjusted 1.00) over 150 samples"
            assert one.heat.believable


@pytest.mark.parametrize("of", ["logits", "probabilities"])
@pytest.mark.parametrize("ridge", [0.0, 1.0])
def test_it_is_that_of_captum_on_the_same_samples(ridge: float, of: Any) -> None:
    from captum._utils.models.linear_model import SkLearnLinearRegression, SkLearnRidge
    from captum.attr import Lime as CaptumLime

    model, image = convnet(), noise_images(1)
    said, asked = watched(Lime(GRID, samples=60, ridge=ridge, of=of), model, image, of=2)
    masks, _ = asked.seen

    def sampled(original: torch.Tensor, **kwargs: object) -> Iterator[torch.Tensor]:
        yield from masks.long().unsqueeze(1)

    def similarity(original: torch.Tensor, made: torch.Tensor, mask: torch.Tensor, **kwargs: object) -> torch.Tensor:
        return kernel(mask)

    assert inspect.isgeneratorfunction(sampled)
    regression = SkLearnRidge(alpha=ridge) if ridge else SkLearnLinearRegression()
    answer = model if of == "logits" else torch.nn.Sequential(model, torch.nn.Softmax(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = CaptumLime(answer, regression, similarity, sampled).attribute(
            image, means(image), 2, feature_mask=GRID(image).unsqueeze(1), n_samples=60,
            perturbations_per_eval=60, return_input_shape=False,
        )  # fmt: skip
    assert said.weights.abs().max() > 0.01
    assert torch.allclose(said.weights.float(), found[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "lime",
    [
        Lime(GRID, ridge=0.0),
        Lime(GRID, ridge=3.0, kernel_width=0.6),
        # More superpixels than samples: of all weights that fit, the shortest.
        Lime(Grid(6, 6), samples=20, ridge=0.0, fill="grey"),
    ],
    ids=repr,
)
def test_weights_and_r2_are_those_of_scikit_learn(lime: Lime) -> None:
    from sklearn.linear_model import LinearRegression, Ridge
    from sklearn.metrics import r2_score

    regression = Ridge(alpha=lime.ridge) if lime.ridge else LinearRegression()
    model, image = convnet(), noise_images(1)
    said, asked = watched(lime, model, image, of=1)
    masks, logits = asked.seen
    x, y, weights = masks.double().numpy(), logits[:, 1].double().numpy(), kernel(masks, lime.kernel_width).numpy()
    regression.fit(x, y, weights)
    assert torch.allclose(said.weights, torch.from_numpy(regression.coef_), rtol=0, atol=1e-6)
    r2 = r2_score(y, regression.predict(x), sample_weight=weights)
    assert said.r2 == pytest.approx(r2, abs=1e-6)
    samples, s = masks.shape
    free = samples - s - 1
    assert said.adjusted_r2 == pytest.approx(1 - (1 - r2) * (samples - 1) / free if free > 0 else 0, abs=1e-6)


def test_the_first_sample_is_the_image_and_in_the_others_half_is_shown() -> None:
    _, asked = watched(Lime(Grid(6, 6), samples=400, fill="grey"), convnet(), noise_images(1), of=0)
    masks, _ = asked.seen
    assert masks.shape == (400, 36)
    assert masks[0].all()
    assert masks[1:].double().mean().item() == pytest.approx(0.5, abs=0.02)
    assert len(masks.unique(dim=0)) == 400


def test_samples_depend_on_the_seed_and_the_image_and_on_nothing_else() -> None:
    images = noise_images(2)

    def masks(image: torch.Tensor, seed: int, row: int) -> torch.Tensor:
        asked = Watched(convnet(), image, GRID(image.unsqueeze(0))[0])
        Lime(GRID, samples=30).explain(asked, image.unsqueeze(0), classes(0), streams(2, seed).select([row]))
        return asked.seen[0]

    first = masks(images[0], 0, 0)
    assert torch.equal(masks(images[1], 0, 0), first)
    assert not torch.equal(masks(images[0], 1, 0), first)
    assert not torch.equal(masks(images[0], 0, 1), first)


def test_each_background_shows_through_in_its_share_of_the_samples() -> None:
    levels = []

    def watching(images: torch.Tensor) -> torch.Tensor:
        levels.append(images.amax((1, 2, 3)))
        return linear(images)

    backgrounds = Backgrounds(torch.tensor([2.0, 3.0, 4.0]).reshape(3, 1, 1, 1).expand(-1, 3, 6, 6))
    explained(Lime(GRID, fill=backgrounds), watching, noise_images(1), classes(0))
    seen, counts = torch.cat(levels)[1:].unique(return_counts=True)
    assert seen.tolist()[-3:] == [2, 3, 4]
    assert counts[-3:].min() > 30
    assert counts[:-3].sum() <= 2


def test_a_stressed_image_is_cut_and_sampled_as_the_clean_one_is() -> None:
    clean = patchwork(1)
    stressed = (clean + 0.3 * noise_images(1, 32)).clamp(0, 1)
    (of_clean,) = explained(Lime(Slic(16), samples=40), convnet_of(32), clean, classes(1))
    cut = of_clean.segments.unsqueeze(0)
    assert not torch.equal(Slic(16)(stressed), cut)
    shown = []
    for image in (clean, stressed):
        asked = Watched(convnet_of(32), image[0], cut[0])
        (said,) = explained(Lime(Slic(16), samples=40), asked, image, classes(1), segments=cut)
        assert torch.equal(said.segments, cut[0])
        shown.append(asked.seen[0])
    assert torch.equal(shown[0], shown[1])
    (again,) = explained(Lime(Slic(16), samples=40), convnet_of(32), clean, classes(1), segments=cut)
    assert torch.equal(again.weights, of_clean.weights)


def convnet_of(side: int) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(6), convnet()) if side != 6 else convnet()


def test_an_image_has_the_same_weights_alone_in_company_and_in_another_order() -> None:
    """With another number of superpixels in each image, as Slic finds them."""
    images = torch.cat([patchwork(3), noise_images(1, 32)])
    of, lime, model = classes(0, 1, 2, 1), Lime(Slic(20), samples=60), convnet_of(32)
    together = explained(lime, model, images, of)
    assert len({len(said.weights) for said in together}) > 1
    for said, again in zip(together, explained(lime, model, images, of), strict=True):
        assert torch.equal(said.weights, again.weights)
    order = [2, 0, 3, 1]
    shuffled = lime.explain(model, images[order], of[order], streams(4).select(order))
    for place, row in enumerate(order):
        (alone,) = lime.explain(model, images[row : row + 1], of[row : row + 1], streams(4).select([row]))
        for said in (alone, shuffled[place]):
            assert torch.allclose(said.weights, together[row].weights, rtol=0, atol=1e-6)
            assert torch.allclose(said.heat.heat, together[row].heat.heat, rtol=0, atol=1e-6)


@dataclass(frozen=True)
class Few:
    """A classifier that wants seven images at a time and to be told which; it must be shown no others."""

    images: torch.Tensor
    seen: list[list[int]]
    at_a_time: int = 7
    rows: torch.Tensor | None = None

    def select(self, rows: torch.Tensor) -> "Few":
        return replace(self, rows=rows)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        assert self.rows is not None
        self.seen.append(self.rows.tolist())
        own = (images == self.images[self.rows]).all(1).flatten(1).any(1)
        # All hidden may be all that is shown of an image.
        assert own.double().mean() > 0.5
        return linear(images)


def test_the_samples_of_all_images_share_batches_of_the_size_that_the_classifier_takes() -> None:
    images, seen, of = noise_images(3), [], classes(0, 1, 1)
    said = explained(Lime(GRID, samples=10), Few(images, seen), images, of)
    assert [len(rows) for rows in seen] == [7, 7, 7, 7, 2]
    assert [row for rows in seen for row in rows] == [0] * 10 + [1] * 10 + [2] * 10
    for one, other in zip(said, explained(Lime(GRID, samples=10), linear, images, of), strict=True):
        assert torch.allclose(one.weights, other.weights, rtol=0, atol=1e-6)


def test_a_classifier_that_takes_any_number_is_shown_at_most_64_images_together() -> None:
    _, asked = watched(Lime(GRID, samples=150), linear, noise_images(1), of=0)
    assert [len(masks) for masks in asked.masks] == [64, 64, 22]


@pytest.mark.parametrize("size", [8, 4])
def test_it_points_into_the_region_that_the_class_rests_on_wherever_that_is(size: int) -> None:
    image = noise_images(1, 32)
    for top in range(0, 33 - size, 4):
        for left in range(0, 33 - size, 4):
            model = Block(top, left, size, by="mean")
            (said,) = explained(Lime(Grid(8, 8), fill=0.0), model, image, classes(1))
            assert said.heat.believable
            assert points_into(said.heat.heat, top, left, size)
            (number,) = said.top(1)
            assert (said.segments[top : top + size, left : left + size] == number).any()


def test_by_their_mean_colours_it_finds_what_rests_on_texture() -> None:
    image = noise_images(1, 32)
    for top in range(0, 25, 8):
        for left in range(0, 25, 8):
            (said,) = explained(Lime(Grid(4, 4)), Block(top, left, 8, by="texture"), image, classes(1))
            assert points_into(said.heat.heat, top, left, 8)
            assert said.top(1) == (top // 8 * 4 + left // 8,)


def test_what_rests_on_mean_colours_alone_is_not_hidden_by_them_and_it_says_so() -> None:
    (said,) = explained(Lime(Grid(4, 4)), Block(8, 8, 8), noise_images(1, 32), classes(1))
    assert said.heat.note == "the same answer whichever superpixels are hidden"
    assert not said.heat.believable
    assert (said.r2, said.adjusted_r2) == (0, 0)
    assert not said.weights.any()


@pytest.mark.parametrize("segmenter", [Slic(20), Quickshift(least_side=96)], ids=repr)
def test_superpixels_of_the_image_point_into_the_object_of_each_class(segmenter: Slic | Quickshift) -> None:
    places = [(top, left) for top in (0, 4, 8) for left in (0, 6, 20)]
    images = dim_noise(len(places), 32)
    for image, (top, left) in zip(images, places, strict=True):
        image[0, top : top + 8, left : left + 8] = 1
        image[1, top + 16 : top + 24, left : left + 8] = 1
    for k, down in ((0, 0), (1, 16)):
        said = explained(Lime(segmenter, fill=0.0), Colours(), images, torch.full((len(places),), k))
        for one, (top, left) in zip(said, places, strict=True):
            assert one.heat.believable
            # Its edge may be a pixel beside that of the object.
            points = (one.heat.heat == one.heat.heat.max()).nonzero().double().mean(0) - torch.tensor(
                [top + down, left]
            )
            assert points.min() >= 0
            assert points.max() < 8


def test_the_first_superpixels_are_those_with_the_largest_weights_above_0() -> None:
    image = 1 - noise_images(1)
    (said,) = explained(Lime(GRID, ridge=0.0, fill="grey"), linear, image, classes(1))
    ranked = sorted(range(9), key=lambda number: -said.weights[number].item())
    positive = [number for number in ranked if said.weights[number] > 0]
    assert 4 < len(positive) < 9
    assert said.top() == tuple(ranked[:4])
    assert said.top(2) == tuple(ranked[:2])
    assert said.top(9) == tuple(positive)
    assert torch.equal(said.region(2), (said.segments == ranked[0]) | (said.segments == ranked[1]))
    refused("expected at least 1 superpixel, got 0", lambda: said.top(0))


def test_where_every_superpixel_speaks_against_the_class_there_is_none_to_show() -> None:
    def against(images: torch.Tensor) -> torch.Tensor:
        return -images.mean((2, 3))

    (said,) = explained(Lime(GRID, fill=0.0), against, noise_images(1), classes(1))
    assert said.heat.believable
    assert said.top() == ()
    assert not said.region().any()


def noise(images: torch.Tensor) -> torch.Tensor:
    """Answers that have nothing to do with what is shown, the same ones for the same image."""
    chaos = (images.double().flatten(1) * torch.arange(1, images[0].numel() + 1)).sum(1) * 1e4
    return torch.stack([chaos.sin(), chaos.cos()], 1).float()


def test_answers_of_noise_are_not_believed_although_their_plain_r2_is_above_the_least() -> None:
    """As many superpixels as there are explain a third of 150 answers of noise; what is left without that is nothing."""
    (said,) = explained(Lime(Grid(7, 7), ridge=0.0), noise, noise_images(1, 14), classes(0))
    assert said.r2 > 0.3
    assert abs(said.adjusted_r2) < 0.2
    assert not said.heat.believable
    note = f"adjusted R2 {said.adjusted_r2:.3f} (plain {said.r2:.3f}) over 150 samples, below 0.3"
    assert said.heat.note == note
    message = (
        f"Lime(segments=Grid(), ridge=0.0): expected weights that can be ranked, got {note}; "
        "take more samples, other superpixels or another fill"
    )
    refused(message, said.top)
    refused(message, said.region)


def test_from_where_on_weights_are_believed_can_be_set() -> None:
    images, of = noise_images(1, 32), classes(1)
    (said,) = explained(Lime(Grid(4, 4)), convnet_of(32), images, of)
    assert 0.3 < said.adjusted_r2 < 1
    for least, believable in ((said.adjusted_r2 - 1e-6, True), (said.adjusted_r2 + 1e-6, False)):
        (again,) = explained(Lime(Grid(4, 4), least_r2=least), convnet_of(32), images, of)
        assert again.heat.believable == believable
        assert again.r2 == said.r2


def test_one_superpixel_and_fewer_samples_than_superpixels_are_not_believed() -> None:
    image = noise_images(1)
    (one,) = explained(Lime(Grid(1, 1), fill=0.0), linear, image, classes(1))
    assert (one.heat.note, one.heat.believable) == ("one superpixel, the whole image", False)
    (few,) = explained(Lime(Grid(6, 6), samples=37, fill=0.0), linear, image, classes(1))
    assert (few.heat.note, few.heat.believable) == ("37 samples for 36 superpixels, which fit anything", False)
    (enough,) = explained(Lime(Grid(6, 6), samples=200, fill=0.0), linear, image, classes(1))
    assert enough.heat.believable


@pytest.mark.parametrize("failing", [0, 1, 3])
def test_it_leaves_the_model_and_the_images_as_found(failing: int) -> None:
    model = Learning(fails=lambda call: call == failing)
    images = noise_images(2).requires_grad_()
    before, pixels = state(model), images.detach().clone()
    with pytest.raises(RuntimeError, match=r"^out of order$") if failing else contextlib.nullcontext():
        said = explained(Lime(GRID), model, images, classes(0, 1))
        assert not said[0].heat.heat.requires_grad
    assert state(model) == before
    assert torch.equal(images.detach(), pixels)


def test_a_model_in_training_is_asked_in_eval_mode() -> None:
    learning, ready = Learning(), Learning().eval()
    one, other = (explained(Lime(GRID), model, noise_images(1), classes(2))[0] for model in (learning, ready))
    assert torch.equal(one.weights, other.weights)
    assert learning.training


def test_the_superpixels_that_were_taken_are_named_with_the_heat() -> None:
    image, of = noise_images(1, 32), classes(0)
    assert explained(Lime(), convnet_of(32), image, of)[0].heat.method == "Lime(segments=Slic())"
    assert (
        explained(Lime(samples=60), convnet_of(32), image, of, segments=GRID(image))[0].heat.method
        == "Lime(samples=60)"
    )


def test_the_published_procedure_is_a_setting() -> None:
    assert published_lime() == Lime(Quickshift(4, 200, 0.2), 150, 0.25, ridge=0.0, fill="grey", of="probabilities")
    assert repr(published_lime()) == "Lime(segments=Quickshift(), ridge=0.0, fill='grey', of='probabilities')"


def test_settings_that_mean_nothing_are_refused() -> None:
    makers: dict[str, Callable[[], Lime]] = {
        "Lime(samples=1): expected samples to be a whole number >= 2, got 1": lambda: Lime(samples=1),
        "Lime(kernel_width=0): expected kernel_width to be a number > 0, got 0": lambda: Lime(kernel_width=0),
        "Lime(ridge=-1): expected ridge to be a number >= 0 (0 is least squares), got -1": lambda: Lime(ridge=-1),
        "Lime(least_r2=1.5): expected least_r2 to be a number from 0 to 1, got 1.5": lambda: Lime(least_r2=1.5),
        "Lime(of='scores'): expected of 'logits' or 'probabilities', got 'scores'": lambda: Lime(
            of="scores"  # type: ignore[arg-type]
        ),
    }
    for message, make in makers.items():
        refused(message, make)


def test_classes_and_segments_that_do_not_fit_are_refused() -> None:
    image = noise_images(1)
    refused("Lime(): expected classes from 0 to 1, got 2", lambda: explained(Lime(), linear, image, classes(2)))
    refused(
        "Lime(): expected segments (1, 6, 6) int64, the superpixel of every pixel, got (1, 5, 5) int64",
        lambda: explained(Lime(), linear, image, classes(0), segments=Grid(5, 5)(noise_images(1, 5))),
    )
