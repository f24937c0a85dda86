"""What an outcome tells of how it came about: queries, gradients, distance, and which attack broke it, whatever the batch."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from pytest_robustness import Engine, GaussianNoise, ImageSet, Robustness, SmoothingVote, image_folder
from pytest_robustness.attacks import APGD, FGSM, FMN, PGD, Square, WorstCase, foreign
from pytest_robustness.cache import OutcomeStore
from pytest_robustness.records import Case, Ladder, Outcome, Verdict
from pytest_robustness.results import Results
from pytest_robustness.types import Attack


class Curved(nn.Module):
    """Three classes; every call's number of images is remembered."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        generator = torch.Generator().manual_seed(1)
        self.first = nn.Parameter(torch.randn(12, 3 * 64, generator=generator) / 6)
        self.second = nn.Parameter(torch.randn(3, 12, generator=generator))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.asked += len(images)
        return torch.tanh((images - 0.5).flatten(1) @ self.first.T) @ self.second.T


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    """Twelve 8 x 8 pictures of noise, of the classes that the model takes them for; the last two of others."""
    model = Curved()
    for number in range(12):
        values = torch.randint(40, 215, (8, 8, 3), generator=torch.Generator().manual_seed(number), dtype=torch.uint8)
        answer = int(model(values.permute(2, 0, 1).unsqueeze(0) / 255).argmax())
        path = tmp_path / "abc"[(answer + (number >= 10)) % 3] / f"{number:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(values.numpy()).save(path)
    return image_folder(tmp_path, classes=["a", "b", "c"])


def ids(images: ImageSet) -> list[str]:
    return sorted((image.id for image in images.images), key=lambda image_id: image_id[-6:])


def outcomes(images: ImageSet, attack: Attack, epsilon: float, **settings: object) -> tuple[Outcome, ...]:
    return Engine(Curved(), images, device="cpu", **settings).evaluate(ids(images), attack, epsilon).outcomes  # type: ignore[arg-type]


def test_a_clean_and_a_perturbed_image_took_one_query_and_a_vote_one_for_each_voter(images: ImageSet) -> None:
    engine = Engine(Curved(), images, device="cpu")
    vote = SmoothingVote(passes=3)
    for told, queries in (
        (engine.evaluate(ids(images)), 1),
        (engine.evaluate(ids(images), GaussianNoise(), 0.1), 1),
        (engine.behind(vote).evaluate(ids(images), GaussianNoise(), 0.1), 4),
    ):
        for outcome in told.outcomes:
            assert (outcome.queries, outcome.gradients, outcome.distance) == (queries, 0, None)
            assert (outcome.found_by, outcome.silent) == ("", False)


def test_a_single_step_takes_a_query_and_a_gradient_at_every_strength_though_the_model_is_asked_once(
    images: ImageSet,
) -> None:
    engine = Engine(Curved(), images, device="cpu")
    for epsilon in (0.02, 0.1):
        told = engine.evaluate(ids(images)[:10], FGSM(), epsilon).outcomes
        assert {(outcome.queries, outcome.gradients) for outcome in told} == {(1, 1)}
        assert [outcome.distance for outcome in told] == pytest.approx([epsilon] * 10, abs=1e-6)
    averaged = engine.evaluate(ids(images)[:10], FGSM(expectation=3), 0.02).outcomes
    assert {(outcome.queries, outcome.gradients) for outcome in averaged} == {(3, 3)}


def test_an_image_that_holds_takes_every_step_and_one_that_falls_no_more_than_it_takes(images: ImageSet) -> None:
    """The look at the edge in the first gradient's direction is a query without a gradient."""
    held = outcomes(images, PGD(7), 1e-6)[:10]
    assert {(outcome.queries, outcome.gradients, outcome.correct) for outcome in held} == {(8, 7, True)}
    fell = outcomes(images, PGD(7), 0.5)[:10]
    assert {(outcome.queries, outcome.gradients, outcome.correct) for outcome in fell} == {(2, 1, False)}
    square = outcomes(images, Square(30), 1e-6)[:10]
    assert {(outcome.queries, outcome.gradients) for outcome in square} == {(31, 0)}


def test_an_image_that_is_wrong_when_clean_took_one_query_and_no_attack(images: ImageSet) -> None:
    for outcome in outcomes(images, WorstCase(PGD(5), Square(9)), 0.1)[10:]:
        assert not outcome.correct
        assert (outcome.queries, outcome.gradients, outcome.distance, outcome.found_by) == (1, 0, None, "")


@pytest.mark.parametrize(
    "attack",
    [PGD(6), APGD(8, random_start=True), FMN(8), Square(20), WorstCase(FGSM(), APGD(5, loss="dlr"), Square(9))],
    ids=repr,
)
@pytest.mark.filterwarnings("ignore:loss=.dlr.:UserWarning")
def test_what_it_took_is_the_same_alone_and_in_any_company(images: ImageSet, attack: Attack) -> None:
    together = outcomes(images, attack, 0.03)
    assert len({(outcome.queries, outcome.gradients) for outcome in together}) >= 2
    one_by_one, five = (outcomes(images, attack, 0.03, batch_size=size) for size in (1, 5))
    for told in (one_by_one, five):
        assert [(o.queries, o.gradients, o.found_by) for o in told] == [
            (o.queries, o.gradients, o.found_by) for o in together
        ]
        assert [o.distance for o in told] == pytest.approx([o.distance for o in together], abs=1e-5)


def test_the_attack_that_broke_an_image_is_named_and_none_where_it_holds(images: ImageSet) -> None:
    attack = WorstCase(Square(3), PGD(6))
    told = outcomes(images, attack, 0.03)[:10]
    assert {outcome.found_by for outcome in told if outcome.correct} == {""}
    assert {outcome.found_by for outcome in told if not outcome.correct} == {"Square(queries=3)", "PGD(steps=6)"}


def test_a_search_in_low_precision_counts_what_is_attacked_again(images: ImageSet) -> None:
    coarse = outcomes(images, PGD(7), 1e-6, precision="bfloat16")[:10]
    assert {(outcome.queries, outcome.gradients) for outcome in coarse} <= {(8, 7), (16, 14), (9, 8), (10, 8)}


def test_a_success_that_another_library_kept_to_itself_is_told(images: ImageSet) -> None:
    strong = FGSM()

    def secretive(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        leaf = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(leaf), labels, reduction="sum"), leaf)
        model((images + 0.3 * gradient.sign()).clamp(0, 1))
        return images

    broken = [outcome.image for outcome in outcomes(images, strong, 0.3)[:10] if not outcome.correct]
    told = [outcome for outcome in outcomes(images, foreign(secretive, "linf"), 0.3)[:10] if not outcome.correct]
    assert broken
    assert {outcome.image for outcome in told} >= set(broken)
    assert all(outcome.silent for outcome in told)
    assert {(outcome.queries, outcome.gradients) for outcome in told} == {(2, 1)}


def test_the_library_of_a_stress_is_in_its_case_and_in_its_ladders(images: ImageSet) -> None:
    foolbox = pytest.importorskip("foolbox")
    from importlib.metadata import version

    robustness = Robustness(Engine(Curved(), images, device="cpu"))
    attack = foreign(foolbox.attacks.LinfFastGradientAttack())
    library = f"foolbox {version('foolbox')}"
    assert robustness.accuracy(attack, 0.01).evaluation.case.library == library
    assert robustness.breaking_point(ids(images)[0], attack, up_to=0.01, levels=1).ladder.library == library
    assert robustness.accuracy(FGSM(), 0.01).evaluation.case.library == ""


def test_what_an_outcome_tells_survives_the_store_and_the_results(images: ImageSet, tmp_path: Path) -> None:
    attack = WorstCase(Square(3), PGD(6))
    store = OutcomeStore(tmp_path / "store.db")
    first = outcomes(images, attack, 0.03, store=store)
    model = Curved()
    again = Engine(model, images, device="cpu", store=store).evaluate(ids(images), attack, 0.03).outcomes
    store.close()
    assert again == first
    assert any(outcome.found_by for outcome in again)
    ladder = Ladder("a.png", "FGSM()", "epsilon", (0.1,), ((0.0, first[0]),), (), "torchattacks 3.5.1")
    case = Case("FGSM()", "epsilon", 0.03, "", "torchattacks 3.5.1")
    results = Results((Verdict("accuracy", "claim", "pass", "reason", ladders=(ladder,)),))
    assert Results.from_json(results.to_json()) == results
    assert case.title == "FGSM() at epsilon 0.03"
