"""Images attacked towards classes: which targets are within reach is known in closed form, alone and in company."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from pytest_robustness.attacks import APGD, FGSM, PGD, Square
from pytest_robustness.cache import OutcomeStore
from pytest_robustness.engine import Engine
from pytest_robustness.errors import InputError
from pytest_robustness.loading import ImageSet, image_folder
from pytest_robustness.perturbations import GaussianNoise
from pytest_robustness.types import Attack

CLASSES = "abcd"
# Of 255; the classes of an image are its bands of two columns, and the brightest band is the answer.
LEVELS = {
    "a/1": (140, 120, 110, 136),
    "a/2": (132, 128, 124, 120),
    "b/1": (100, 150, 110, 149),
    "c/1": (90, 100, 130, 120),
    "d/1": (128, 128, 128, 134),
    "d/2": (134, 120, 120, 126),
}
WRONG = "d/2.png"


class Bands(nn.Module):
    """Four classes: the logits are 20 times the mean brightness of one band each; every call is remembered."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(images))
        return 20 * images.unflatten(3, (4, 2)).mean((1, 2, 4))


def paint(root: Path) -> ImageSet:
    for name, levels in LEVELS.items():
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        bands = torch.tensor(levels, dtype=torch.uint8).repeat_interleave(2)
        Image.fromarray(bands[None, :, None].expand(8, 8, 3).contiguous().numpy()).save(path)
    return image_folder(root)


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    return paint(tmp_path / "images")


def pairs_of(images: ImageSet) -> list[tuple[str, int]]:
    return [(image.id, target) for image in images.images for target in range(4) if target not in image.labels]


def distance(image_id: str, target: int) -> float:
    """The least epsilon that reaches the target: it may rise, and all others fall, until it is above the highest."""
    levels = LEVELS[image_id.removesuffix(".png")]
    return (max(levels) - levels[target]) / 2 / 255


@pytest.mark.parametrize("attack", [FGSM(), PGD(), PGD(random_start=True, restarts=1), APGD(20)], ids=repr)
@pytest.mark.parametrize("epsilon", [1 / 255, 4.5 / 255, 10.2 / 255])
def test_exactly_the_targets_within_reach_are_reached(images: ImageSet, attack: Attack, epsilon: float) -> None:
    pairs = pairs_of(images)
    outcomes = Engine(Bands(), images, device="cpu").targeted(pairs, attack, epsilon)
    reached = {pair for pair, outcome in zip(pairs, outcomes, strict=True) if outcome.predicted == CLASSES[pair[1]]}
    within = {pair for pair in pairs if pair[0] != WRONG and distance(*pair) < epsilon}
    assert 0 < len(within) < len(pairs)
    assert reached - {(WRONG, 0)} == within
    for (image_id, _), outcome in zip(pairs, outcomes, strict=True):
        assert outcome.image == image_id
        assert outcome.distance is None or outcome.distance <= epsilon + 1e-6


def test_an_attack_without_gradients_goes_for_targets_too(images: ImageSet) -> None:
    pairs = [pair for pair in pairs_of(images) if pair[0] != WRONG]
    outcomes = Engine(Bands(), images, device="cpu").targeted(pairs, Square(300), 12 / 255)
    reached = {pair for pair, outcome in zip(pairs, outcomes, strict=True) if outcome.predicted == CLASSES[pair[1]]}
    assert {pair for pair in pairs if distance(*pair) < 4 / 255} <= reached
    assert all(distance(*pair) < 12 / 255 for pair in reached)


@pytest.mark.parametrize("attack", [FGSM(), PGD(steps=4, random_start=True), Square(40)], ids=repr)
def test_a_pair_fares_the_same_alone_in_company_and_in_another_order(images: ImageSet, attack: Attack) -> None:
    pairs = pairs_of(images)
    together = Engine(Bands(), images, device="cpu", seed=3).targeted(pairs, attack, 5 / 255)
    for batch_size in (1, 3, 7):
        backwards = Engine(Bands(), images, device="cpu", seed=3, batch_size=batch_size)
        assert backwards.targeted(pairs[::-1], attack, 5 / 255)[::-1] == together
    for pair, outcome in list(zip(pairs, together, strict=True))[::5]:
        alone = Engine(Bands(), images, device="cpu", seed=3)
        assert alone.targeted([pair], attack, 5 / 255) == (outcome,)


def test_each_target_of_an_image_has_random_numbers_of_its_own(images: ImageSet) -> None:
    """From a random start, and without a step that could tell them apart."""
    engine = Engine(Bands(), images, device="cpu")
    asks = [("a/1.png", 1e-4, target) for target in (1, 2)]
    ((_, found),) = engine.shown(asks, PGD(steps=1, step_size=1e-9, random_start=True))
    assert not torch.equal(found.images[0], found.images[1])


def test_an_image_that_is_wrong_when_clean_is_answered_clean_and_not_attacked(images: ImageSet) -> None:
    model = Bands()
    engine = Engine(model, images, device="cpu")
    (clean,) = engine.evaluate([WRONG]).outcomes
    calls = len(model.calls)
    assert engine.targeted([(WRONG, 1), (WRONG, 2)], PGD(), 0.1) == (clean, clean)
    assert len(model.calls) == calls


def test_at_epsilon_0_all_is_as_without_the_attack(images: ImageSet) -> None:
    engine = Engine(Bands(), images, device="cpu")
    clean = engine.evaluate(["a/1.png"]).outcomes
    assert engine.targeted([("a/1.png", 1), ("a/1.png", 3)], PGD(), 0.0) == clean * 2


def test_the_clean_answer_is_asked_for_once_and_reached_pairs_leave_the_batch(images: ImageSet) -> None:
    model = Bands()
    engine = Engine(model, images, device="cpu", batch_size=16)
    _ = engine.provenance
    engine.evaluate([WRONG], PGD(), 0.01)
    model.calls.clear()
    pairs = [pair for pair in pairs_of(images) if pair[0] != WRONG]
    outcomes = engine.targeted(pairs, PGD(steps=2), 4.5 / 255)
    within = sum(distance(*pair) < 4.5 / 255 for pair in pairs)
    assert (len(pairs), within) == (15, 7)
    # The five clean images; the first gradient and the edge of the ball for all pairs; the second gradient for those that were not
    # reached, at the edge again, so that the last answer is known.
    assert model.calls == [5, 15, 15, 8]
    assert sorted({(outcome.queries, outcome.gradients) for outcome in outcomes}) == [(2, 1), (3, 2)]
    engine.targeted(pairs, PGD(steps=2), 4.5 / 255)
    assert len(model.calls) == 4


def test_a_pair_is_another_question_than_the_image_and_than_another_target(images: ImageSet, tmp_path: Path) -> None:
    def engine() -> Engine:
        store = OutcomeStore(tmp_path / "outcomes.sqlite")
        return Engine(Bands(), images, device="cpu", batch_size=16, store=store)

    pairs = pairs_of(images)
    first = engine()
    away = first.evaluate([image.id for image in images.images], PGD(), 4.5 / 255)
    towards = first.targeted(pairs, PGD(), 4.5 / 255)
    assert first.computed == {"images": 6, "pairs": 15}
    again = engine()
    assert again.targeted(pairs, PGD(), 4.5 / 255) == towards
    assert again.evaluate([image.id for image in images.images], PGD(), 4.5 / 255) == away
    assert sum(again.computed.values()) == 0
    for other in (PGD(steps=19), FGSM()):
        again.targeted(pairs, other, 4.5 / 255)
    again.targeted(pairs, PGD(), 4.6 / 255)
    assert again.computed["pairs"] == 45


def test_one_gradient_serves_all_epsilons_of_a_pair_and_no_other_pair(images: ImageSet) -> None:
    model = Bands()
    engine = Engine(model, images, device="cpu", batch_size=16)
    pairs = [pair for pair in pairs_of(images) if pair[0] != WRONG]
    engine.targeted(pairs, FGSM(), 2 / 255)
    model.calls.clear()
    engine.targeted(pairs, FGSM(), 3 / 255)
    assert model.calls == [15]


def test_progress_is_told_in_pairs(images: ImageSet) -> None:
    told: list[tuple[int, int, str]] = []
    engine = Engine(Bands(), images, device="cpu", batch_size=2, progress=lambda *so_far: told.append(so_far))
    engine.targeted(pairs_of(images), PGD(steps=1), 0.01)
    assert told[:3] == [(2, 6, "images"), (4, 6, "images"), (6, 6, "images")]
    assert told[3:] == [(8, 15, "pairs"), (15, 15, "pairs")]


def test_pixels_of_a_targeted_attack_are_those_that_were_judged(images: ImageSet) -> None:
    engine = Engine(Bands(), images, device="cpu")
    pairs = [pair for pair in pairs_of(images) if pair[0] != WRONG]
    outcomes = engine.targeted(pairs, PGD(), 4.5 / 255)
    asks = [(image_id, 4.5 / 255, target) for image_id, target in pairs]
    shown = [pair for batch in engine.shown(asks, PGD()) for pair in zip(*(part.images for part in batch), strict=True)]
    for (clean, found), outcome in zip(shown, outcomes, strict=True):
        assert CLASSES[int(Bands()(found[None]).argmax())] == outcome.predicted
        assert (found - clean).abs().max().item() == pytest.approx(outcome.distance, abs=1e-6)


def test_a_pair_that_spoils_its_batch_fails_alone(images: ImageSet) -> None:
    class Fragile(Bands):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = super().forward(images)
            # Of b/1, and only where the attack has darkened its first band.
            return logits.masked_fill(
                (images.amin((1, 2, 3)) < 0.39)[:, None] & (images.amax((1, 2, 3)) > 0.58)[:, None], torch.nan
            )

    engine = Engine(Fragile(), images, device="cpu")
    pairs = [pair for pair in pairs_of(images) if pair[0] != WRONG]
    with pytest.raises(InputError) as error:
        engine.targeted(pairs, PGD(steps=1), 2 / 255)
    assert str(error.value) == (
        "the model: expected finite logits, got NaN or infinity for 1 of 1 images, first b/1.png; "
        "look for a division by zero or an overflow in its forward\n"
        "2 of these 15 pairs can't be evaluated"
    )
    others = [pair for pair in pairs if pair[0] != "b/1.png"]
    assert len(engine.targeted(others, PGD(steps=1), 2 / 255)) == 12


def test_a_batch_that_does_not_fit_is_halved(images: ImageSet) -> None:
    class Narrow(Bands):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if len(images) > 4:
                raise RuntimeError("out of memory")
            return super().forward(images)

    pairs = pairs_of(images)
    narrow = Engine(Narrow(), images, device="cpu", batch_size=32)
    assert narrow.targeted(pairs, PGD(), 4.5 / 255) == Engine(Bands(), images, device="cpu").targeted(
        pairs, PGD(), 4.5 / 255
    )
    assert narrow.batch_size <= 4


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (("a/1.png", 4), "a/1.png: expected a target from 0 to 3, a class's number, got 4"),
        (("a/1.png", -1), "a/1.png: expected a target from 0 to 3, a class's number, got -1"),
        (
            ("a/1.png", 0),
            "a/1.png: expected a target that is not accepted, got 'a', which is right; choose another class",
        ),
    ],
)
def test_a_target_that_is_none_is_refused(images: ImageSet, pair: tuple[str, int], said: str) -> None:
    with pytest.raises(InputError) as error:
        Engine(Bands(), images, device="cpu").targeted([pair], PGD(), 0.1)
    assert str(error.value) == said


def test_a_perturbation_can_go_for_no_target(images: ImageSet) -> None:
    with pytest.raises(InputError) as error:
        Engine(Bands(), images, device="cpu").targeted([("a/1.png", 1)], GaussianNoise(), 0.1)  # type: ignore[arg-type]
    assert str(error.value) == (
        "expected an attack, which can go for a target, got GaussianNoise(); use one such as PGD()"
    )


# Killed on the way

# What it is told by its environment is no part of what it asks.
_RUN = """
import os, signal
from pathlib import Path
import torch
from pytest_robustness.attacks import PGD
from pytest_robustness.cache import OutcomeStore
from pytest_robustness.engine import Engine
from pytest_robustness.loading import image_folder
from tests.test_targeted import Bands, pairs_of

torch.set_num_threads(1)

class Logged(Bands):
    def forward(self, images):
        with open(os.environ["LOG"], "a") as file:
            file.write("called\\n")
        if os.environ["HOW"] == "in a chunk" and os.path.getsize(os.environ["LOG"]) > 7 * 45:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(images)

def told(done, total, what):
    if os.environ["HOW"] == "between chunks" and what == "pairs" and done >= 8:
        os.kill(os.getpid(), signal.SIGKILL)

images = image_folder("images")
store = None if os.environ["HOW"] == "without a store" else OutcomeStore(Path("outcomes.sqlite"))
engine = Engine(Logged(), images, device="cpu", batch_size=1, store=store, progress=told)
for outcome in engine.targeted(pairs_of(images), PGD(steps=6), 4.5 / 255):
    print(outcome)
print(engine.computed["pairs"])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills itself with a signal of POSIX")
@pytest.mark.parametrize("doom", ["between chunks", "in a chunk"])
def test_a_run_that_was_killed_goes_on_where_it_was_with_nothing_lost_and_nothing_done_twice(
    images: ImageSet, tmp_path: Path, doom: str
) -> None:
    def run(how: str, log: str) -> "subprocess.CompletedProcess[str]":
        told = {"PYTHONPATH": str(Path(__file__).parents[1]), "LOG": log, "HOW": how}
        return subprocess.run(
            [sys.executable, "script.py"],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, **told},
        )

    def calls(log: str) -> int:
        return len((tmp_path / log).read_text(encoding="utf-8").splitlines())

    (tmp_path / "script.py").write_text(_RUN, encoding="utf-8")
    whole = run("without a store", "whole")
    assert whole.returncode == 0, whole.stderr
    killed = run(doom, "killed")
    assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, "")
    resumed = run("to the end", "resumed")
    assert resumed.returncode == 0, resumed.stderr
    *outcomes, computed = resumed.stdout.splitlines()
    assert outcomes == whole.stdout.splitlines()[:-1]
    assert 0 < int(computed) < 15
    # Nothing remains to be found by a third run: what it asks is what tells the model from another one.
    third = run("to the end", "third")
    assert third.stdout.splitlines() == [*outcomes, "0"]
    twice = calls("killed") + calls("resumed") - calls("third") - calls("whole")
    # Each process tries out whether the model repeats itself, in three calls, and with a store what tells it from another.
    twice -= 3 + 1
    if doom == "between chunks":
        assert twice == 0
    else:
        # The chunk that it was at, of four pairs, with seven queries and an edge each.
        assert 0 < twice <= 4 * 8
