"""Answers on disk: found again by an unchanged engine, never by a changed one, shared between processes."""

import dataclasses
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from PIL import Image
from torch import nn

from pytest_robustness.attacks import FGSM, PGD
from pytest_robustness.cache import OutcomeStore
from pytest_robustness.defenses import SmoothingVote
from pytest_robustness.engine import Engine
from pytest_robustness.errors import InputError
from pytest_robustness.loading import ImageSet, image_folder
from pytest_robustness.memory import Keys, Memory
from pytest_robustness.perturbations import Blend, GaussianNoise
from pytest_robustness.records import Outcome
from pytest_robustness.seeding import Streams


class Counted(nn.Module):
    """Two classes, linear in the mean of the image; counts the images it is shown."""

    def __init__(self, gain: float = 8.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        SHOWN.append(len(images))
        margin = self.gain * (images.mean((1, 2, 3)) - 0.5)
        return torch.stack([torch.zeros_like(margin), margin], 1)


SHOWN: list[int] = []


@pytest.fixture(autouse=True)
def _nothing_shown() -> None:
    SHOWN.clear()


def paint(path: Path, level: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (level, level, level)).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(10):
        paint(tmp_path / "images" / "dark" / f"{number}.png", 10 * number)
        paint(tmp_path / "images" / "bright" / f"{number}.png", 255 - 10 * number)
    return tmp_path


def images_of(root: Path) -> ImageSet:
    return image_folder(root / "images", classes=["dark", "bright"])


def ids(images: ImageSet) -> list[str]:
    return [image.id for image in images.images]


def engine_of(
    root: Path, *, model: nn.Module | None = None, seed: int = 0, run: str = "", shared: bool = False
) -> Engine:
    store = OutcomeStore(root / "outcomes.sqlite", shared=shared)
    return Engine(model or Counted(), images_of(root), device="cpu", batch_size=4, seed=seed, store=store, run=run)


def shown_by(ask: Callable[[], object]) -> int:
    """How many images the model is shown beside the probe."""
    SHOWN.clear()
    ask()
    return sum(SHOWN)


# What an engine asks of the probe of four images: how to run, and what the model says to them.
PROBE = 2 * 4

QUESTIONS = [
    (None, 0.0, None),
    (GaussianNoise(), 0.2, None),
    (FGSM(), 0.1, None),
    (PGD(steps=3, random_start=True), 0.1, None),
    (GaussianNoise(), 0.2, SmoothingVote()),
]


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_an_unchanged_engine_finds_the_answers_of_the_run_before(
    root: Path, question: tuple[object, float, object]
) -> None:
    stress, strength, defense = question
    first = engine_of(root)
    before = first.behind(defense).evaluate(ids(first.images), stress, strength)  # type: ignore[arg-type]
    again = engine_of(root)
    assert shown_by(lambda: again.behind(defense).evaluate(ids(again.images), stress, strength)) == PROBE  # type: ignore[arg-type]
    assert again.behind(defense).evaluate(ids(again.images), stress, strength) == before  # type: ignore[arg-type]


def test_a_blend_is_found_again_by_its_pixels_not_by_its_name(root: Path) -> None:
    overlay = paint(root / "overlay.png", 200)
    first = engine_of(root)
    before = first.evaluate(ids(first.images), Blend(overlay), 0.5)
    assert shown_by(lambda: engine_of(root).evaluate(ids(first.images), Blend(overlay), 0.5)) == PROBE
    paint(overlay, 90)
    changed = engine_of(root)
    assert shown_by(lambda: changed.evaluate(ids(first.images), Blend(overlay), 0.5)) == PROBE + 20
    assert changed.evaluate(ids(first.images), Blend(overlay), 0.5) != before


@pytest.mark.parametrize("change", ["weight", "seed", "strength", "stress", "labels", "precision"])
def test_a_change_never_meets_an_answer_from_before(root: Path, change: str) -> None:
    first = engine_of(root)
    names = ids(first.images)
    first.evaluate(names, PGD(steps=3, random_start=True), 0.1)
    model, seed, strength, stress = Counted(), 0, 0.1, PGD(steps=3, random_start=True)
    if change == "weight":
        model = Counted(gain=8.000001)
    elif change == "seed":
        seed = 1
    elif change == "strength":
        strength = 0.1000001
    elif change == "stress":
        stress = PGD(steps=4, random_start=True)
    changed = engine_of(root, model=model, seed=seed)
    if change == "labels":
        changed.images = image_folder(root / "images", classes=["dark", "other"][:1] + ["bright"][:1] + ["third"])
        changed = Engine(Three(), changed.images, device="cpu", store=OutcomeStore(root / "outcomes.sqlite"))
    elif change == "precision":
        store = OutcomeStore(root / "outcomes.sqlite")
        changed = Engine(model, images_of(root), device="cpu", precision="bfloat16", store=store)
    assert shown_by(lambda: changed.evaluate(names, stress, strength)) > PROBE + 20


class Three(Counted):
    """As Counted, with a class that never wins."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        two = super().forward(images)
        return torch.cat([two, torch.full((len(two), 1), -9.0)], 1)


def test_a_changed_picture_alone_is_asked_about_again(root: Path) -> None:
    first = engine_of(root)
    names = ids(first.images)
    first.evaluate(names)
    paint(root / "images" / names[7], 200)
    changed = engine_of(root)
    # A batch of one, filled up to four.
    assert shown_by(lambda: changed.evaluate(names)) == PROBE + 4
    assert changed.evaluate(names) == Engine(Counted(), images_of(root), device="cpu").evaluate(names)


def test_a_weight_that_is_changed_between_two_questions_makes_another_model(root: Path) -> None:
    model = Counted()
    engine = engine_of(root, model=model)
    names = ids(engine.images)
    before, was = engine.evaluate(names), engine.provenance
    with torch.no_grad():
        model.gain.mul_(-1)
    after = engine.evaluate(names)
    assert (before.correct, after.correct) == (20, 0)
    assert engine.provenance.model_digest != was.model_digest
    with torch.no_grad():
        model.gain.mul_(-1)
    assert shown_by(lambda: engine.evaluate(names)) == PROBE
    assert engine.evaluate(names) == before


@dataclass(frozen=True)
class Opaque:
    """A stress that holds what no digest can vouch for."""

    held: object = dataclasses.field(default_factory=object, compare=False, repr=False)
    unit: ClassVar[str] = "amount"
    limit: ClassVar[float] = 1.0

    def __call__(self, images: torch.Tensor, strengths: torch.Tensor, streams: Streams) -> torch.Tensor:
        return images * (1 - strengths.reshape(-1, 1, 1, 1))


def test_what_has_no_digest_is_shared_within_a_run_and_never_kept_for_another(root: Path, tmp_path: Path) -> None:
    with (tmp_path / "open.txt").open("w") as file:
        stress = Opaque(file)
        first = engine_of(root, run="one", shared=True)
        names = ids(first.images)
        first.evaluate(names, stress, 0.1)
        same = engine_of(root, run="one", shared=True)
        assert shown_by(lambda: same.evaluate(names, stress, 0.1)) == PROBE
        other = engine_of(root, run="two", shared=True)
        assert shown_by(lambda: other.evaluate(names, stress, 0.1)) == PROBE + 20
        alone = engine_of(root)
        assert shown_by(lambda: alone.evaluate(names, stress, 0.1)) == PROBE + 20


def test_a_function_counts_as_the_same_where_its_code_and_what_it_closes_over_do(root: Path) -> None:
    def of(gain: float, run: str) -> Engine:
        model = Counted(gain)
        store = OutcomeStore(root / "outcomes.sqlite", shared=bool(run))
        return Engine(lambda images: model(images), images_of(root), device="cpu", store=store, run=run)

    names = ids(images_of(root))
    of(8.0, "one").evaluate(names)
    # What it says to four images of noise is in the key; twenty more tell how small a batch may be.
    noise = 4 + 20
    assert shown_by(lambda: of(8.0, "one").evaluate(names)) == noise
    assert shown_by(lambda: of(7.0, "one").evaluate(names)) == noise + 20
    assert shown_by(lambda: of(8.0, "").evaluate(names)) == noise


def test_errors_are_not_stored(root: Path) -> None:
    engine = engine_of(root)
    names = ids(engine.images)
    good = (root / "images" / names[3]).read_bytes()
    (root / "images" / names[3]).write_bytes(b"broken")
    with pytest.raises(InputError):
        engine.evaluate(names)
    (root / "images" / names[3]).write_bytes(good)
    mended = engine_of(root)
    assert shown_by(lambda: mended.evaluate(names)) == PROBE + 4


def work(root: Path, name: str, folder: Path) -> None:
    """What each of two workers does: ask for the same things in another order, and write down what it was shown."""
    torch.set_num_threads(1)

    class Slow(Counted):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            time.sleep(0.01)
            # Not by a path of the file: what a model holds of that kind counts with its bytes.
            with (folder / "log.txt").open("a") as file:
                file.write("".join(f"{image.mean().item():.4f}\n" for image in images))
            return super().forward(images)

    engine = engine_of(root, model=Slow(), run="r", shared=True)
    names = ids(engine.images)
    engine.evaluate(names if name == "a" else names[::-1], GaussianNoise(), 0.2)
    engine.evaluate(names)
    # Seconds to import, and nothing here needs it.
    assert "torch._dynamo" not in sys.modules


def test_two_processes_share_the_work_and_no_image_is_computed_twice(root: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work, args=(root, name, tmp_path)) for name in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    # Each of them asks the probe, clean; beyond that every image once, clean and noisy.
    assert len((tmp_path / "log.txt").read_text().splitlines()) == 2 * PROBE + 20 + 20


def test_the_store_is_asked_in_windows_and_given_out_in_chunks(tmp_path: Path) -> None:
    memory = Memory(OutcomeStore(tmp_path / "o.sqlite", shared=True))
    memory.name_by(Keys(nn.Identity(), "s", lambda image_id: image_id, run="r"))
    asks = [(str(number), 0.0) for number in range(100)]
    assert memory.missing((None, None), asks) == asks
    with memory.chunks((None, None), asks, lambda: 7) as given:
        chunks = list(given)
    assert [ask for chunk in chunks for ask in chunk] == asks
    assert {len(chunk) for chunk in chunks} == {7, 2}


def test_claims_are_kept_until_the_end_and_given_up_where_the_work_is_broken_off(tmp_path: Path) -> None:
    released: list[list[str]] = []

    class Watched(OutcomeStore):
        def release(self, keys: Iterable[str]) -> None:
            released.append(list(keys))
            super().release(released[-1])

    memory = Memory(Watched(tmp_path / "o.sqlite", shared=True))
    memory.name_by(Keys(nn.Identity(), "s", lambda image_id: image_id, run="r"))
    asks = [(str(number), 0.0) for number in range(10)]
    memory.missing((None, None), asks)
    with memory.chunks((None, None), asks, lambda: 4) as given:
        first, *others = list(given)
        # All are given out, and none is free for others before it is answered.
        assert released == []
        memory.keep((None, None), dict.fromkeys(first, ANSWER))
    assert [len(chunk) for chunk in others] == [4, 2]
    assert [len(keys) for keys in released] == [6]


ANSWER = Outcome("0", ("a",), "a", True, 0.5, 0.5, (("a", 0.5),))
