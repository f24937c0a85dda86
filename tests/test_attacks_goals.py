"""Goals and objectives by arithmetic: what is climbed, and when an attack has arrived."""

import math

import pytest
import torch
import torch.nn.functional as F

from pytest_robustness.attacks import Mimic, Miss
from pytest_robustness.errors import InputError
from pytest_robustness.types import Batch, Loss
from tests.attack_models import accepted

# Models of two and three classes have no DLR: tests/test_worst_case.py has what is said of that.
pytestmark = pytest.mark.filterwarnings("ignore:loss=.dlr.:UserWarning")

losses = pytest.mark.parametrize("loss", ["log-odds", "margin", "dlr"])


def missed(logits: list[float], classes: list[int], loss: Loss) -> float:
    """The objective of missing all of these classes."""
    rows = torch.zeros(1, len(logits), dtype=torch.bool)
    rows[0, classes] = True
    return Miss(rows).objective(torch.tensor([logits]), loss).item()


def mimicked(logits: list[float], target: int, loss: Loss) -> float:
    return Mimic(torch.tensor([target])).objective(torch.tensor([logits]), loss).item()


def some_logits(n: int = 40, k: int = 6) -> torch.Tensor:
    return 3 * torch.randn(n, k, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("classes", "odds"),
    [
        ([0], (math.exp(2) + math.exp(3)) / math.exp(1)),
        ([2], (math.exp(1) + math.exp(2)) / math.exp(3)),
        ([0, 2], math.exp(2) / (math.exp(1) + math.exp(3))),
    ],
)
def test_log_odds_are_the_logarithm_of_the_odds_of_a_miss(classes: list[int], odds: float) -> None:
    assert missed([1.0, 2.0, 3.0], classes, "log-odds") == pytest.approx(math.log(odds), abs=1e-6)


def test_the_log_odds_of_a_target_are_those_of_it_against_all_others() -> None:
    odds = math.exp(2) / (math.exp(1) + math.exp(3))
    assert mimicked([1.0, 2.0, 3.0], 1, "log-odds") == pytest.approx(math.log(odds), abs=1e-6)


def test_log_odds_rise_as_the_cross_entropy_does_which_is_log_of_1_plus_the_odds() -> None:
    logits, labels = some_logits(), torch.arange(40) % 6
    cross_entropy = F.cross_entropy(logits, labels, reduction="none")
    objective = Miss(F.one_hot(labels, 6).bool()).objective(logits)
    assert torch.allclose(F.softplus(objective), cross_entropy, atol=1e-6)
    # And towards a target as it falls.
    assert torch.allclose(F.softplus(-Mimic(labels).objective(logits)), cross_entropy, atol=1e-6)


@pytest.mark.parametrize(
    ("classes", "margin"), [([0], -2.0), ([1], 2.0), ([3], 5.0), ([0, 2], -2.0), ([1, 2], 2.0), ([1, 2, 3], 2.0)]
)
def test_the_margin_is_the_highest_other_logit_less_the_highest_accepted_one(classes: list[int], margin: float) -> None:
    assert missed([5.0, 3.0, 2.0, 0.0], classes, "margin") == margin


def test_the_margin_of_a_target_is_its_logit_less_the_highest_other() -> None:
    assert [mimicked([5.0, 3.0, 2.0, 0.0], target, "margin") for target in range(4)] == [2.0, -2.0, -3.0, -5.0]


@pytest.mark.parametrize(
    ("classes", "dlr"),
    [
        ([0], -2 / 3),
        ([1], 2 / 3),
        ([3], 5 / 3),
        # The accepted classes count as one, its logit the highest: what is left is 5, 2, 0 and 5, 3, 0.
        ([0, 1], -3 / 5),
        ([0, 2], -2 / 5),
        ([2, 1], 2 / 5),
    ],
)
def test_dlr_is_the_margin_over_the_first_logit_less_the_third(classes: list[int], dlr: float) -> None:
    assert missed([5.0, 3.0, 2.0, 0.0], classes, "dlr") == pytest.approx(dlr)


def test_dlr_towards_a_target_is_its_margin_over_the_first_logit_less_the_mean_of_the_third_and_the_fourth() -> None:
    logits = [5.0, 3.0, 2.0, 0.0, -4.0]
    assert [mimicked(logits, target, "dlr") for target in (0, 1, 2, 4)] == pytest.approx(
        [2 / 4, -2 / 4, -3 / 4, -9 / 4]
    )


def test_dlr_by_the_way_of_a_class_goes_from_the_highest_accepted_logit_to_that_of_the_class() -> None:
    """Equation 7, with the accepted classes as one: the logits in order are 5, 3, 2, 0, and without the 3 where 0 and 1 are accepted."""
    logits = torch.tensor([[5.0, 3.0, 2.0, 0.0, -4.0]])
    alone, other, both = (
        [aim.objective(logits, "dlr").item() for aim in Miss(torch.tensor([rows], dtype=torch.bool)).aims(logits, 2)]
        for rows in ([1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [1, 1, 0, 0, 0])
    )
    assert alone == pytest.approx([(3 - 5) / 4, (2 - 5) / 4])
    assert other == pytest.approx([(5 - 3) / 4, (2 - 3) / 4])
    assert both == pytest.approx([(2 - 5) / (5 + 2), (0 - 5) / (5 + 2)])


@pytest.mark.parametrize(
    ("logits", "classes"), [([5.0, 3.0], [0]), ([5.0, 3.0], [1]), ([5.0, 3.0, 2.0], [0, 2]), ([5.0, 3.0, 2.0], [1, 0])]
)
def test_without_three_classes_to_tell_apart_dlr_is_the_margin(logits: list[float], classes: list[int]) -> None:
    assert missed(logits, classes, "dlr") == missed(logits, classes, "margin")


@pytest.mark.parametrize("logits", [[5.0, 3.0], [5.0, 3.0, 2.0]])
def test_without_four_classes_to_tell_apart_dlr_towards_a_target_is_the_margin(logits: list[float]) -> None:
    for target in range(len(logits)):
        assert mimicked(logits, target, "dlr") == mimicked(logits, target, "margin")
    for aim in Miss(accepted([0], len(logits))).aims(torch.tensor([logits]), 9):
        assert aim.objective(torch.tensor([logits]), "dlr") == aim.objective(torch.tensor([logits]), "margin")


def test_images_that_have_a_dlr_and_images_that_have_none_share_a_batch() -> None:
    rows = torch.tensor([[1, 0, 0], [1, 1, 0]], dtype=torch.bool)
    logits = torch.tensor([[5.0, 3.0, 1.0], [5.0, 3.0, 1.0]])
    assert Miss(rows).objective(logits, "dlr").tolist() == [-0.5, -4.0]


def test_dlr_does_not_change_where_all_logits_are_shifted_or_scaled() -> None:
    logits, labels = some_logits(), torch.arange(40) % 6
    miss = Miss(F.one_hot(labels, 6).bool())
    for goal in (miss, Mimic(labels), *miss.aims(logits, 2)):
        once = goal.objective(logits, "dlr")
        assert torch.allclose(goal.objective(1e4 * logits + 7, "dlr"), once, atol=1e-4)
        assert torch.allclose(goal.objective(1e-3 * logits, "dlr"), once, atol=1e-4)


@losses
def test_the_margin_and_dlr_are_above_0_exactly_where_the_goal_is_reached(loss: Loss) -> None:
    logits, labels = some_logits(), torch.arange(40) % 6
    for goal in (Miss(F.one_hot(labels, 6).bool()), Mimic(labels)):
        reached = goal.reached(logits)
        assert 0 < reached.sum() < 40
        if loss == "log-odds":
            # Above 0 where the odds are better than even, which is more than to be the likeliest.
            positive = goal.objective(logits, loss) > 0
            assert (positive | ~reached).all() if isinstance(goal, Miss) else (reached | ~positive).all()
        else:
            assert torch.equal(goal.objective(logits, loss) > 0, reached)


@pytest.mark.parametrize("margin", [0.0, 1.0, 20.0, 1e3, 1e30])
def test_log_odds_have_a_gradient_however_certain_the_model_is(margin: float) -> None:
    logits = torch.tensor([[margin, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(Miss(accepted([0], 2)).objective(logits).sum(), logits)
    assert gradient.tolist() == [[-1.0, 1.0]]


@losses
@pytest.mark.parametrize("margin", [1e-3, 1.0, 20.0, 1e3, 1e6])
def test_an_objective_climbs_by_the_leading_classes_however_certain_the_model_is(loss: Loss, margin: float) -> None:
    logits = torch.tensor([[margin, 0.0, -margin, -2 * margin, -3 * margin]], requires_grad=True)
    for goal in (Miss(accepted([0], 5)), Mimic(torch.tensor([1]))):
        (gradient,) = torch.autograd.grad(goal.objective(logits, loss).sum(), logits)
        assert gradient.isfinite().all()
        assert gradient[0, 0] < 0 < gradient[0, 1]


@losses
@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_equal_logits_give_finite_objectives_and_gradients(loss: Loss, k: int) -> None:
    logits = torch.zeros(2, k, requires_grad=True)
    miss = Miss(accepted([0, 1], k))
    for goal in (miss, Mimic(torch.tensor([1, 0])), *miss.aims(logits.detach(), 9)):
        objective = goal.objective(logits, loss)
        (gradient,) = torch.autograd.grad(objective.sum(), logits)
        assert objective.isfinite().all()
        assert gradient.isfinite().all()


@losses
def test_where_every_class_is_accepted_the_objective_is_flat(loss: Loss) -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]], requires_grad=True)
    goal = Miss(torch.tensor([[True, True, True], [True, False, True]]))
    objective = goal.objective(logits, loss)
    (gradient,) = torch.autograd.grad(objective.sum(), logits)
    assert objective[0].item() == 0
    assert gradient[0].tolist() == [0.0, 0.0, 0.0]
    assert gradient[1, 1] > 0


def test_a_miss_is_any_answer_outside_the_accepted_classes() -> None:
    goal = Miss(torch.tensor([[True, False, True]] * 3 + [[True, True, True]]))
    logits = torch.tensor([[5.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 5.0], [1.0, 5.0, 1.0]])
    assert goal.reached(logits).tolist() == [False, True, False, False]


def test_a_mimic_is_the_target_alone() -> None:
    goal = Mimic(torch.tensor([0, 1, 2]))
    logits = torch.tensor([[5.0, 1.0, 1.0], [5.0, 1.0, 1.0], [1.0, 1.0, 5.0]])
    assert goal.reached(logits).tolist() == [True, False, True]


@losses
def test_a_goal_of_some_rows_is_the_goal_of_these_images(loss: Loss) -> None:
    logits, labels, rows = some_logits(6), torch.arange(6), torch.tensor([4, 0, 5])
    miss = Miss(accepted(labels.tolist(), 6))
    for goal in (miss, Mimic(labels), miss.aims(logits, 3)[2]):
        some = goal.select(rows)
        assert torch.equal(some.objective(logits[rows], loss), goal.objective(logits, loss)[rows])
        assert torch.equal(some.reached(logits[rows]), goal.reached(logits)[rows])


def test_aims_go_by_the_likeliest_other_classes_and_are_reached_by_any_miss() -> None:
    logits = torch.tensor([[4.0, 1.0, 3.0, 2.0], [4.0, 1.0, 3.0, 2.0]])
    goal = Miss(torch.tensor([[1, 0, 0, 0], [0, 0, 1, 0]], dtype=torch.bool))
    first, second, third = goal.aims(logits, 9)
    assert torch.equal(first.objective(logits, "margin"), torch.tensor([3.0 - 4.0, 4.0 - 3.0]))
    assert torch.equal(second.objective(logits, "margin"), torch.tensor([2.0 - 4.0, 2.0 - 3.0]))
    assert torch.equal(third.objective(logits, "margin"), torch.tensor([1.0 - 4.0, 1.0 - 3.0]))
    assert len(goal.aims(logits, 2)) == 2
    for aim in (first, second, third):
        assert aim.reached(logits).tolist() == [False, True]
        assert list(aim.aims(logits, 9)) == [aim]


def test_an_image_with_fewer_other_classes_is_aimed_at_the_likeliest_again() -> None:
    logits = torch.tensor([[4.0, 1.0, 3.0, 2.0]])
    aims = Miss(torch.tensor([[1, 0, 1, 0]], dtype=torch.bool)).aims(logits, 3)
    assert [aim.objective(logits, "margin").item() for aim in aims] == [-2.0, -3.0, -2.0]


def test_a_target_has_itself_as_its_only_aim() -> None:
    goal = Mimic(torch.tensor([1]))
    assert list(goal.aims(torch.zeros(1, 4), 9)) == [goal]


def batch() -> Batch:
    rows = torch.tensor([[True, False, True], [False, True, False]])
    return Batch(torch.zeros(2, 3, 4, 4), rows, ("cat.png", "dog.png"))


def test_targets_are_given_image_by_image() -> None:
    assert Mimic.of([1, 2], batch()).targets.tolist() == [1, 2]
    assert Mimic.of(torch.tensor([1, 2]), batch()).targets.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([1], "Mimic: expected a target for each of 2 images, got 1"),
        ([1, 3], "Mimic: expected targets from 0 to 2, the classes' numbers, got 3 for dog.png"),
        ([-1, 0], "Mimic: expected targets from 0 to 2, the classes' numbers, got -1 for cat.png"),
        (
            [2, 0],
            "Mimic: expected a target that is not accepted, got 2 for cat.png, which it is already; choose another class",
        ),
        (
            torch.tensor([1, 1]),
            "Mimic: expected a target that is not accepted, got 1 for dog.png, which it is already; choose another class",
        ),
        ([1.5, 0], "Mimic: expected targets from 0 to 2, the classes' numbers, got 1.5 for cat.png"),
        (["dog", 0], "Mimic: expected targets from 0 to 2, the classes' numbers, got 'dog' for cat.png"),
        ([True, 0], "Mimic: expected targets from 0 to 2, the classes' numbers, got True for cat.png"),
    ],
)
def test_targets_that_can_not_be_aimed_at_are_refused(targets: list[int], message: str) -> None:
    with pytest.raises(InputError) as error:
        Mimic.of(targets, batch())
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("labels", "got"),
    [
        (torch.tensor([0, 1]), "torch.int64 of shape (2,)"),
        (torch.tensor([[1, 0], [0, 1]]), "torch.int64 of shape (2, 2)"),
        (torch.tensor([True, False]), "torch.bool of shape (2,)"),
    ],
)
def test_labels_are_no_accepted_classes(labels: torch.Tensor, got: str) -> None:
    with pytest.raises(InputError) as error:
        Miss(labels)
    assert str(error.value) == (
        f"Miss: expected the accepted classes of each image, (n, k) bool, got {got}; "
        "F.one_hot(labels, k).bool() makes them of labels"
    )
