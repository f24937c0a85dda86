"""Anchors against the exact precision over all masks, planted regions, and what they say where there is none."""

import itertools
import math
import re
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch

from pytest_robustness.errors import InputError
from pytest_robustness.explanations.anchors import AnchorExplanation, Anchors
from pytest_robustness.explanations.hiding import Backgrounds
from pytest_robustness.explanations.segments import Grid, Slic
from pytest_robustness.seeding import Streams
from pytest_robustness.stats import lower_bound
from tests.attack_models import Model, noise_images, streams
from tests.explanation_models import Learning, patchwork, refused, state

K = 11
BLACK = Backgrounds(torch.zeros(1, 3, 1, K))
# One pixel is one superpixel, and black where it is hidden: all 2^11 masks can be asked.
PIXELS = Anchors(segments=Grid(1, K), fill=BLACK)
# Rectangles, whatever is in the image.
CELLS = Anchors(segments=Grid(4, 4))
MASKS = (torch.arange(2**K).unsqueeze(1) >> torch.arange(K)) & 1


def precision(anchor: tuple[int, ...], kept: torch.Tensor, p_sample: float = 0.5) -> float:
    """The exact one, of whether the class is kept under each of the masks, (2^K,)."""
    weights = torch.where(MASKS == 1, torch.tensor(p_sample, dtype=torch.float64), 1 - p_sample).prod(1)
    visible = MASKS[:, list(anchor)].all(1)
    return float(weights[visible & kept].sum() / weights[visible].sum())


def network(seed: int) -> Model:
    """Three classes by a random layer of eight."""
    generator = torch.Generator().manual_seed(seed)
    first, last = torch.randn(K, 8, generator=generator), torch.randn(8, 3, generator=generator)
    return lambda images: torch.tanh(2 * images[:, 0, 0] @ first) @ last


def rows_of_pixels(seed: int, n: int = 8) -> torch.Tensor:
    return torch.rand(n, 1, 1, K, generator=torch.Generator().manual_seed(seed)).expand(-1, 3, -1, -1)


@dataclass(frozen=True, eq=False)
class Table:
    """Keeps the class of each of 8 images under a random 94 % of all masks."""

    seed: int
    rows: torch.Tensor = field(default_factory=lambda: torch.arange(8))
    at_a_time: int = 512

    @property
    def kept(self) -> torch.Tensor:
        return torch.rand(8, 2**K, generator=torch.Generator().manual_seed(self.seed)) < 0.94

    def select(self, rows: torch.Tensor) -> "Table":
        return replace(self, rows=rows)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        kept = self.kept[self.rows, (images[:, 0, 0] * 2 ** torch.arange(K)).sum(1).long()]
        return torch.stack([kept, ~kept], 1).float()


def spotted(white: list[int], black: list[int] | None = None, *, cells: int, size: int = 16) -> torch.Tensor:
    """Grey noise, one image for each, with a white pixel in that cell of a grid, and a black one in the other."""
    images = 0.3 + 0.4 * torch.rand(len(white), 3, size, size, generator=torch.Generator().manual_seed(0))
    side = size // cells
    for colour, places in ((1.0, white), (0.0, black)):
        for row, cell in enumerate(places or []):
            images[row, :, cell // cells * side + 1, cell % cells * side + 1] = colour
    return images


def sees_white(images: torch.Tensor) -> torch.Tensor:
    seen = images.amax((1, 2, 3)) > 0.99
    return torch.stack([seen, ~seen], 1).float()


def sees_white_and_black(images: torch.Tensor) -> torch.Tensor:
    seen = (images.amax((1, 2, 3)) > 0.99) & (images.amin((1, 2, 3)) < 0.01)
    return torch.stack([seen, ~seen], 1).float()


def parity(images: torch.Tensor) -> torch.Tensor:
    """Class 0 where an even number of pixels of a row is visible."""
    odd = (images[:, 0, 0] > 0).sum(1) % 2 == 1
    return torch.stack([~odd, odd], 1).float()


def constant(images: torch.Tensor) -> torch.Tensor:
    return torch.tensor([[1.0, 0.0]]).expand(len(images), 2)


def explained(anchors: Anchors, model: Model, images: torch.Tensor, seed: int = 0) -> tuple[AnchorExplanation, ...]:
    """For class 0."""
    return anchors.explain(model, images, torch.zeros(len(images), dtype=torch.long), streams(len(images), seed))


def told(explanation: AnchorExplanation) -> tuple[object, ...]:
    """All that it says, without tensors."""
    return (
        explanation.anchor,
        explanation.precision,
        explanation.lower,
        explanation.coverage,
        explanation.draws,
        explanation.reached,
        explanation.heat.note,
    )


def test_what_is_called_reached_is_as_precise_as_claimed() -> None:
    """Seeds 0 to 39 with 8 images each, by the exact precision of what was found."""
    true = []
    for seed in range(40):
        model, images = network(seed), rows_of_pixels(seed)
        classes = model(images).argmax(1)
        for row, found in enumerate(PIXELS.explain(model, images, classes, streams(8, seed))):
            kept = model(images[row] * MASKS[:, None, None].float()).argmax(1) == classes[row]
            if found.reached:
                true.append(precision(found.anchor, kept))
            assert found.draws <= PIXELS.max_draws
    assert len(true) >= 300
    assert sum(p >= PIXELS.threshold - 0.05 for p in true) >= 0.98 * len(true)
    assert sum(p < PIXELS.threshold for p in true) <= PIXELS.delta * len(true)


def test_where_every_anchor_is_just_below_the_threshold_few_are_called_reached() -> None:
    """Seeds 0 to 5: precisions are near 0.94, of small sets; some of larger ones are above 0.95 and may be found."""
    anchors, true, n = replace(PIXELS, max_size=3), [], 0
    for seed in range(6):
        model = Table(seed)
        for row, found in enumerate(explained(anchors, model, torch.ones(8, 3, 1, K), seed)):
            n += 1
            if found.reached:
                true.append(precision(found.anchor, model.kept[row]))
    assert n == 48
    assert sum(p < 0.95 for p in true) <= 0.1 * n
    assert all(p >= 0.93 for p in true)


def test_the_exact_precision_of_the_oracle_is_right_in_closed_form() -> None:
    kept = (MASKS[:, 0] | MASKS[:, 1]) == 1
    assert precision((), kept, 0.3) == pytest.approx(1 - 0.7**2, rel=1e-12)
    assert precision((4,), kept, 0.3) == pytest.approx(1 - 0.7**2, rel=1e-12)
    assert precision((1, 4), kept, 0.3) == pytest.approx(1, rel=1e-12)


def test_a_model_that_looks_at_one_superpixel_is_explained_by_it() -> None:
    """Wherever it is: every cell of 7 x 7."""
    found = explained(Anchors(segments=Grid(7, 7)), sees_white, spotted([*range(49)], cells=7, size=28))
    assert [explanation.anchor for explanation in found] == [(cell,) for cell in range(49)]
    assert all(explanation.reached and explanation.precision == 1 for explanation in found)


def test_a_model_that_looks_at_two_superpixels_is_explained_by_both() -> None:
    """Every pair of cells of 4 x 4."""
    pairs = [*itertools.combinations(range(16), 2)]
    white, black = ([pair[place] for pair in pairs] for place in (0, 1))
    found = explained(CELLS, sees_white_and_black, spotted(white, black, cells=4))
    assert [explanation.anchor for explanation in found] == pairs
    assert all(explanation.reached and explanation.precision == 1 for explanation in found)


def test_an_explanation_says_what_it_is_worth() -> None:
    (found,) = explained(CELLS, sees_white, spotted([6], cells=4))
    assert (found.anchor, found.precision, found.coverage, found.draws) == ((6,), 1.0, 0.5, 556)
    # The first attempt has half of the risk.
    assert found.lower == lower_bound(300, 300, confidence=0.95) == pytest.approx(0.05 ** (1 / 300), rel=1e-9)
    assert found.heat.note == "precision 1.00 (at least 0.99), coverage 0.5, 556 draws"
    assert found.heat.method == "Anchors(segments=Grid(rows=4, columns=4))"
    assert found.heat.believable
    assert torch.equal(found.heat.heat, (found.segments == 6).float())
    assert found.heat.heat.dtype == torch.float32
    assert found.heat.heat.sum() == 16


def test_an_answer_that_nothing_changes_needs_no_superpixel() -> None:
    (found,) = explained(CELLS, constant, noise_images(1))
    assert (found.anchor, found.reached, found.coverage) == ((), True, 1)
    assert found.heat.note == "no superpixel is needed: precision 1.00 (at least 0.99), coverage 1, 556 draws"
    assert not found.heat.heat.any()
    assert found.heat.believable


def test_an_empty_anchor_that_is_not_precise_enough_is_passed_over() -> None:
    """Kept unless all of four superpixels are hidden: 15 in 16 is below 0.95, and any one of them is enough."""

    def model(images: torch.Tensor) -> torch.Tensor:
        seen = images.sum((1, 2, 3)) > 0
        return torch.stack([seen, ~seen], 1).float()

    anchors = Anchors(segments=Grid(1, 4), fill=Backgrounds(torch.zeros(1, 3, 1, 4)))
    for found in explained(anchors, model, torch.ones(10, 3, 1, 4)):
        assert (len(found.anchor), found.precision, found.reached) == (1, 1, True)


def test_where_only_the_whole_image_is_precise_it_is_the_anchor() -> None:
    anchors = Anchors(segments=Grid(1, 3), fill=Backgrounds(torch.zeros(1, 3, 1, 3)))
    (found,) = explained(anchors, lambda images: parity(images).flip(1), torch.ones(1, 3, 1, 3))
    assert (found.anchor, found.precision, found.coverage, found.reached) == ((0, 1, 2), 1, 0.125, True)


def test_without_an_anchor_of_the_sizes_allowed_it_says_so() -> None:
    (found,) = explained(replace(PIXELS, max_size=2), parity, torch.ones(1, 3, 1, K))
    assert not found.reached
    assert 0.4 <= found.precision <= 0.6
    assert found.lower < found.precision
    assert len(found.anchor) <= 2
    assert not found.heat.believable
    assert found.heat.note == (
        f"not reached: precision {found.precision:.2f} (at least {int(found.lower * 100) / 100:.2f}), "
        f"coverage {found.coverage:.2g}, {found.draws} draws, for a threshold of 0.95"
    )


def test_a_class_that_is_never_given_has_no_anchor() -> None:
    (found,) = explained(
        replace(PIXELS, max_draws=900), lambda images: constant(images).flip(1), torch.ones(1, 3, 1, K)
    )
    assert (found.precision, found.lower, found.reached) == (0, 0, False)
    assert found.heat.note == (
        f"not reached: precision 0.00 (at least 0.00), coverage {found.coverage:.2g}, {found.draws} draws, "
        "for a threshold of 0.95"
    )


@pytest.mark.parametrize("most", [600, 800, 1200, 2000])
def test_no_more_masks_are_asked_than_the_cap_allows(most: int) -> None:
    asked: list[int] = []

    def counting(images: torch.Tensor) -> torch.Tensor:
        asked.append(len(images))
        return network(2)(images)

    images = rows_of_pixels(2)
    classes = network(2)(images).argmax(1)
    found = replace(PIXELS, max_draws=most).explain(counting, images, classes, streams(8))
    assert sum(asked) == sum(one.draws for one in found)
    assert all(one.draws <= most for one in found)
    assert not all(one.reached for one in found) or most == 2000


def test_the_precision_is_that_of_as_many_draws_that_the_search_has_not_seen() -> None:
    """The last 300 masks are those that confirm: all of them show the anchor, and their share is the precision."""
    shown: list[torch.Tensor] = []
    model = network(3)

    def watched(images: torch.Tensor) -> torch.Tensor:
        shown.append(images[:, 0, 0] > 0)
        return model(images)

    images = rows_of_pixels(3, 1)
    classes = model(images).argmax(1)
    (found,) = PIXELS.explain(watched, images, classes, streams(1))
    fresh = torch.cat(shown)[-300:]
    kept = model(images * fresh[:, None, None].float()).argmax(1) == classes
    assert found.anchor
    assert found.reached
    assert fresh[:, list(found.anchor)].all()
    assert fresh.double().mean(0).min() > 0.4
    assert found.precision == pytest.approx(float(kept.double().mean()), rel=1e-12)


def test_an_image_gets_its_anchor_alone_and_in_company_and_in_any_order() -> None:
    model, images = network(1), rows_of_pixels(1)
    classes, ids = model(images).argmax(1), streams(8).ids
    together = [told(found) for found in PIXELS.explain(model, images, classes, streams(8))]
    order = [5, 2, 7, 0, 1, 6, 3, 4]
    shuffled = PIXELS.explain(model, images[order], classes[order], streams(8).select(order))
    assert [told(found) for found in shuffled] == [together[row] for row in order]
    alone = [
        PIXELS.explain(model, images[[row]], classes[[row]], Streams(0, "test", (ids[row],)))[0] for row in range(8)
    ]
    assert [told(found) for found in alone] == together
    assert len(set(together)) == 8


def test_another_seed_draws_other_masks() -> None:
    model, images = network(1), rows_of_pixels(1)
    classes = model(images).argmax(1)
    once, other = (PIXELS.explain(model, images, classes, streams(8, seed)) for seed in (0, 1))
    assert [told(found) for found in once] != [told(found) for found in other]


@dataclass(frozen=True, eq=False)
class Batches:
    """A classifier of one batch that checks whom it is shown, and notes how many."""

    images: torch.Tensor
    at_a_time: int
    sizes: list[int]
    rows: torch.Tensor | None = None

    def select(self, rows: torch.Tensor) -> "Batches":
        return replace(self, rows=rows)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        assert self.rows is not None
        visible = images != 0
        assert torch.equal(torch.where(visible, self.images[self.rows], 0.0), images)
        self.sizes.append(len(images))
        return network(1)(images)


@pytest.mark.parametrize("at_a_time", [7, 100, 5000])
def test_images_share_batches_of_the_size_that_the_classifier_answers_best(at_a_time: int) -> None:
    images = rows_of_pixels(1)
    classes = network(1)(images).argmax(1)
    sizes: list[int] = []
    found = PIXELS.explain(Batches(images, at_a_time, sizes), images, classes, streams(8))
    assert [told(one) for one in found] == [
        told(one) for one in PIXELS.explain(network(1), images, classes, streams(8))
    ]
    assert sum(sizes) == sum(one.draws for one in found)
    assert max(sizes) == min(at_a_time, max(sizes))
    if at_a_time < 5000:
        assert sorted(sizes)[len(sizes) // 4] == at_a_time
    else:
        assert max(sizes) > 2 * PIXELS.batch


def test_the_classifier_is_asked_without_gradients_and_left_as_it_was() -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(), torch.nn.Linear(3 * K, 2)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def watched(images: torch.Tensor) -> torch.Tensor:
        assert not torch.is_grad_enabled()
        logits: torch.Tensor = model(images)
        return logits

    explained(replace(PIXELS, max_draws=600), watched, torch.ones(1, 3, 1, K))
    assert torch.is_grad_enabled()
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_in_training_is_asked_in_eval_mode() -> None:
    learning, ready, images = Learning(), Learning().eval(), noise_images(2, 9)
    before = state(learning)
    one, other = (
        [told(found) for found in CELLS.explain(model, images, torch.tensor([2, 1]), streams(2))]
        for model in (learning, ready)
    )
    assert one == other
    assert state(learning) == before


@pytest.mark.parametrize("p_sample", [0.2, 0.8])
def test_superpixels_outside_the_anchor_are_visible_with_p_sample(p_sample: float) -> None:
    shares: list[torch.Tensor] = []

    def watched(images: torch.Tensor) -> torch.Tensor:
        shares.append((images[:, 0, 0] > 0).double())
        return constant(images)

    (found,) = explained(replace(PIXELS, p_sample=p_sample), watched, torch.ones(1, 3, 1, K))
    assert found.coverage == 1
    assert torch.allclose(torch.cat(shares).mean(0), torch.tensor(p_sample).double(), atol=0.08)


def test_a_beam_finds_the_short_anchor_that_a_greedy_search_walks_past() -> None:
    """Superpixels 0 and 1 are enough together; 4 is better than either of them alone, and needs more than one other."""

    def model(images: torch.Tensor) -> torch.Tensor:
        visible = images[:, 0, 0] > 0
        kept = visible[:, 0] & visible[:, 1] | visible[:, 4] & (visible[:, 5:].sum(1) >= 3)
        return torch.stack([kept, ~kept], 1).float()

    images = torch.ones(10, 3, 1, K)
    assert {found.anchor for found in explained(PIXELS, model, images)} == {(0, 1)}
    greedy = explained(replace(PIXELS, beam=1, tau=0.05), model, images)
    assert all(4 in found.anchor and len(found.anchor) >= 3 for found in greedy)


def test_a_smaller_tolerance_takes_more_draws() -> None:
    images = spotted([*range(8)], [*range(8, 16)], cells=4)
    draws = [
        sum(found.draws for found in explained(replace(CELLS, tau=tau), sees_white_and_black, images))
        for tau in (0.3, 0.1, 0.01)
    ]
    assert draws[0] < draws[1] < draws[2]


@pytest.mark.parametrize(("delta", "confirm", "lower"), [(0.1, 59, "0.95"), (0.02, 100, "0.95"), (0.5, 1000, "0.99")])
def test_the_bound_is_that_of_the_draws_and_the_risk_asked_for(delta: float, confirm: int, lower: str) -> None:
    """Printed rounded down: 0.25 to the power of a thousandth is 0.9986."""
    (found,) = explained(replace(CELLS, delta=delta, confirm=confirm), constant, noise_images(1))
    assert found.lower == lower_bound(confirm, confirm, confidence=1 - delta / 2)
    draws = 256 + confirm
    assert found.heat.note == (f"no superpixel is needed: precision 1.00 (at least {lower}), coverage 1, {draws} draws")


@pytest.mark.parametrize("tau", [0.25, 0.05])
def test_a_set_is_put_forward_as_soon_as_its_lower_bound_is_within_the_tolerance(tau: float) -> None:
    """n draws that all keep the class have a bound of b where -n log b = log(11 / delta) + 1.1 log n."""
    (found,) = explained(replace(CELLS, tau=tau, batch=2), constant, noise_images(1))
    n = next(n for n in range(8, 1000, 2) if -n * math.log(0.95 - tau) >= math.log(11 / 0.1) + 1.1 * math.log(n))
    assert n > 8
    assert found.draws == n + 300


def test_a_set_that_was_seen_below_the_threshold_is_not_put_forward() -> None:
    """Each attempt takes a part of the risk: where there was none before, the last measurement has half of it."""
    anchors = replace(PIXELS, max_size=1, p_sample=0.9)

    def model(images: torch.Tensor) -> torch.Tensor:
        kept = images[:, 0, 0, :2].amin(1) > 0
        return torch.stack([kept, ~kept], 1).float()

    # The precision of () is 0.81, that of (0,) and of (1,) is 0.9.
    (found,) = explained(anchors, model, torch.ones(1, 3, 1, K))
    assert found.anchor in {(0,), (1,)}
    assert found.lower == lower_bound(round(300 * found.precision), 300, confidence=0.95)


def test_the_best_that_was_found_may_be_shorter_than_the_longest_that_were_tried() -> None:
    """A class that goes where too much is visible: 0.887 of the masks keep it, and fewer of those that show more."""

    def model(images: torch.Tensor) -> torch.Tensor:
        kept = (images[:, 0, 0] > 0).sum(1) <= 7
        return torch.stack([kept, ~kept], 1).float()

    (found,) = explained(replace(PIXELS, max_size=2), model, torch.ones(1, 3, 1, K))
    assert (found.anchor, found.reached) == ((), False)
    assert found.precision == pytest.approx(0.887, abs=0.05)


def test_masks_of_one_image_are_asked_in_batches() -> None:
    sizes: list[int] = []

    def watched(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return constant(images)

    explained(replace(CELLS, batch=10, confirm=59), watched, noise_images(1))
    # Four to begin with, then two at a time.
    assert sizes == [40, 20, 20, 19]


def test_coverage_is_the_chance_that_a_draw_shows_the_anchor() -> None:
    """Held by what is drawn with no regard to it: three quarters of the masks show one superpixel."""
    (found,) = explained(replace(CELLS, p_sample=0.75), sees_white, spotted([3], cells=4))
    assert (found.anchor, found.coverage) == ((3,), 0.75)
    (found,) = explained(replace(CELLS, p_sample=0.75), sees_white_and_black, spotted([3], [9], cells=4))
    assert (found.anchor, found.coverage) == ((3, 9), 0.75**2)


def test_backgrounds_show_through_where_superpixels_are_hidden() -> None:
    """The same draws as with any other fill; each of three backgrounds is there in a third of them."""
    backgrounds = torch.stack([torch.full((3, 1, K), level) for level in (0.1, 0.2, 0.3)])
    seen: list[torch.Tensor] = []

    def watched(images: torch.Tensor) -> torch.Tensor:
        seen.append(images.amin((1, 2, 3)))
        return constant(images)

    explained(replace(PIXELS, fill=Backgrounds(backgrounds)), watched, torch.ones(1, 3, 1, K))
    levels, counts = torch.cat(seen).unique(return_counts=True)
    assert torch.allclose(levels[:3], torch.tensor([0.1, 0.2, 0.3]))
    assert (counts[:3] > 120).all()
    assert counts[3:].sum() <= 3


@pytest.mark.parametrize(("fill", "level"), [("grey", 0.5), (0.25, 0.25), (0, 0.0)])
def test_hidden_superpixels_may_be_grey_or_a_number(fill: Any, level: float) -> None:
    seen: list[torch.Tensor] = []

    def watched(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return constant(images)

    explained(replace(PIXELS, fill=fill), watched, torch.ones(1, 3, 1, K))
    assert torch.cat(seen).unique().tolist() == [level, 1]


def test_by_default_an_image_has_about_fifteen_superpixels_which_are_named_with_the_heat() -> None:
    images = patchwork(1)
    (found,) = explained(Anchors(), constant, images)
    assert torch.equal(found.segments, Slic(15)(images)[0])
    assert found.heat.method == "Anchors(segments=Slic(superpixels=15))"
    (found,) = Anchors().explain(constant, images, torch.tensor([0]), streams(1), segments=Slic(15)(images))
    assert found.heat.method == "Anchors()"


def test_images_are_cut_by_the_segmenter_or_as_they_are_given() -> None:
    images = spotted([5], cells=4)
    assert torch.equal(explained(CELLS, sees_white, images)[0].segments, Grid(4, 4)(images)[0])
    halves = Anchors(segments=Grid(1, 2))
    (found,) = explained(halves, sees_white, images)
    assert (found.anchor, int(found.segments.amax())) == ((0,), 1)
    rows = Grid(4, 1)(images)
    (found,) = halves.explain(sees_white, images, torch.tensor([0]), streams(1), segments=rows)
    assert found.anchor == (1,)
    assert torch.equal(found.segments, rows[0])


def test_images_may_have_different_numbers_of_superpixels() -> None:
    images = spotted([5, 5], cells=4)
    segments = torch.cat([Grid(4, 4)(images[:1]), Grid(2, 1)(images[1:])])
    found = CELLS.explain(sees_white, images, torch.tensor([0, 0]), streams(2), segments=segments)
    assert [one.anchor for one in found] == [(5,), (0,)]
    alone = CELLS.explain(sees_white, images[1:], torch.tensor([0]), streams(2).select([1]), segments=segments[1:])
    assert told(alone[0]) == told(found[1])


def test_each_image_is_explained_for_its_own_class() -> None:
    images = spotted([5, 5], cells=4)
    white, other = CELLS.explain(sees_white, images, torch.tensor([0, 1]), streams(2))
    assert (white.anchor, white.reached) == ((5,), True)
    assert not other.reached


def test_no_images_have_no_explanations() -> None:
    assert explained(CELLS, constant, torch.zeros(0, 3, 8, 8)) == ()


def test_the_repr_is_the_call_that_makes_it() -> None:
    assert repr(Anchors()) == "Anchors()"
    anchors = Anchors(threshold=0.9, max_size=3, segments=Grid(4, 4))
    assert repr(anchors) == "Anchors(threshold=0.9, max_size=3, segments=Grid(rows=4, columns=4))"
    assert eval(repr(anchors)) == anchors
    assert repr(PIXELS) == f"Anchors(segments=Grid(rows=1, columns=11), fill={BLACK!r})"
    assert hash(PIXELS) == hash(replace(PIXELS))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 1.0}, "Anchors(threshold=1.0): expected threshold to be a number between 0 and 1, got 1.0"),
        ({"p_sample": 0.0}, "Anchors(p_sample=0.0): expected p_sample to be a number between 0 and 1, got 0.0"),
        ({"tau": -0.1}, "Anchors(tau=-0.1): expected tau to be a number between 0 and 1, got -0.1"),
        ({"delta": float("nan")}, "Anchors(delta=nan): expected delta to be a number between 0 and 1, got nan"),
        ({"beam": 0}, "Anchors(beam=0): expected beam to be a whole number >= 1, got 0"),
        ({"batch": 0.5}, "Anchors(batch=0.5): expected batch to be a whole number >= 1, got 0.5"),
        ({"max_size": -1}, "Anchors(max_size=-1): expected max_size to be a whole number >= 0, got -1"),
        ({"confirm": True}, "Anchors(confirm=True): expected confirm to be a whole number >= 1, got True"),
        (
            {"confirm": 58},
            "Anchors(confirm=58): expected confirm >= 59, or no draws could show a precision of 0.95, got 58",
        ),
        (
            {"max_draws": 599},
            "Anchors(max_draws=599): expected max_draws to be a whole number >= 600, twice confirm, got 599",
        ),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Anchors(**settings)


def test_as_few_draws_as_can_show_the_threshold_are_allowed() -> None:
    assert Anchors(confirm=59, max_draws=118).confirm == 59


def test_classes_and_segments_that_do_not_fit_are_refused() -> None:
    image = noise_images(1)
    refused(
        "Anchors(): expected classes from 0 to 1, got 2",
        lambda: Anchors().explain(constant, image, torch.tensor([2]), streams(1), segments=Grid(2, 2)(image)),
    )
    refused(
        "Anchors(): expected segments (1, 6, 6) int64, the superpixel of every pixel, got (1, 5, 6) int64",
        lambda: Anchors().explain(
            constant, image, torch.tensor([0]), streams(1), segments=torch.zeros(1, 5, 6, dtype=torch.long)
        ),
    )
