"""The bridge: what is asked of the model, what comes back, and that nothing wrong gets through."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from PIL import Image
from torch import nn

from pytest_robustness.attacks import FGSM, PGD, Miss, Square
from pytest_robustness.defenses import SmoothingVote
from pytest_robustness.engine import Engine, resolve_device
from pytest_robustness.errors import InputError
from pytest_robustness.loading import ImageSet, image_folder, labelled_images
from pytest_robustness.perturbations import GaussianNoise
from pytest_robustness.records import Outcome
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Batch
from pytest_robustness.views import pictures


class Linear(nn.Module):
    """Three classes, linear in the pixels, with weights that differ from pixel to pixel."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.calls: list[int] = []
        self.weight = nn.Parameter(torch.randn(3, 3 * size * size, generator=torch.Generator().manual_seed(1)) / 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(images))
        return images.flatten(1) @ self.weight.T


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    """Twelve 8 x 8 pictures of noise, in three classes."""
    for number in range(12):
        path = tmp_path / "abc"[number % 3] / f"{number:02}.png"
        path.parent.mkdir(exist_ok=True)
        values = torch.randint(40, 215, (8, 8, 3), generator=torch.Generator().manual_seed(number), dtype=torch.uint8)
        Image.fromarray(values.numpy()).save(path)
    return image_folder(tmp_path)


def ids(images: ImageSet) -> list[str]:
    return [image.id for image in images.images]


def said(error: pytest.ExceptionInfo[InputError]) -> str:
    return str(error.value)


def test_clean_outcomes_are_the_softmax_of_the_models_logits(images: ImageSet) -> None:
    model = Linear()
    outcomes = Engine(model, images, device="cpu").evaluate(ids(images)).outcomes
    batch = images.batch(ids(images))
    with torch.no_grad():
        probabilities = model(batch.images).softmax(1)
    for outcome, row, image in zip(outcomes, probabilities, images.images, strict=True):
        answer = int(row.argmax())
        assert outcome.image == image.id
        assert outcome.predicted == images.classes[answer]
        assert outcome.correct == (answer in image.labels)
        assert outcome.confidence == pytest.approx(row.max().item(), abs=2e-6)
        assert outcome.subject == pytest.approx(row[image.labels[0]].item(), abs=2e-6)
        assert [share for _, share in outcome.top] == pytest.approx(sorted(row.tolist(), reverse=True), abs=2e-6)


def test_several_accepted_classes_count_together(images: ImageSet) -> None:
    model = Linear()
    name = ids(images)[0]
    one = Engine(model, images, device="cpu").evaluate([name]).outcomes[0]
    several = labelled_images(images.name, {name: ["a", "b", "c"]}, classes="abc")
    three = Engine(model, several, device="cpu").evaluate([name]).outcomes[0]
    assert three.correct
    assert three.subject == pytest.approx(1.0, abs=2e-6)
    assert three.accepted == ("a", "b", "c")
    assert three.top == one.top


def test_what_was_asked_before_is_not_computed_again(images: ImageSet) -> None:
    model = Linear()
    engine = Engine(model, images, device="cpu", batch_size=5)
    _ = engine.provenance  # Asks the model about the probe.
    model.calls.clear()
    first = engine.evaluate(ids(images), GaussianNoise(), 0.1)
    assert model.calls == [5, 5, 4]
    assert engine.evaluate(ids(images)[3:7], GaussianNoise(), 0.1).outcomes == first.outcomes[3:7]
    assert model.calls == [5, 5, 4]
    engine.evaluate(ids(images)[:4], GaussianNoise(), 0.2)
    assert model.calls == [5, 5, 4, 4]


def test_every_stress_at_strength_0_is_the_clean_image(images: ImageSet) -> None:
    model = Linear()
    engine = Engine(model, images, device="cpu")
    clean = engine.evaluate(ids(images)).outcomes
    calls = len(model.calls)
    for stress in (GaussianNoise(), FGSM(), PGD(random_start=True), FGSM(norm="l2")):
        assert engine.evaluate(ids(images), stress, 0.0).outcomes == clean
    assert len(model.calls) == calls


@pytest.mark.parametrize("stress", [GaussianNoise(), FGSM(), PGD(steps=4, random_start=True)], ids=repr)
def test_an_image_fares_the_same_alone_in_company_and_in_another_order(
    images: ImageSet, stress: GaussianNoise | FGSM | PGD
) -> None:
    model = Linear()
    together = Engine(model, images, device="cpu", seed=3).evaluate(ids(images), stress, 0.02).outcomes
    for batch_size in (1, 2, 3, 7):
        engine = Engine(model, images, device="cpu", seed=3, batch_size=batch_size)
        backwards = engine.evaluate(ids(images)[::-1], stress, 0.02).outcomes
        for one, other in zip(together, backwards[::-1], strict=True):
            assert (one.image, one.predicted, one.correct) == (other.image, other.predicted, other.correct)
            assert one.subject == pytest.approx(other.subject, abs=1e-4)


def test_another_seed_is_another_noise(images: ImageSet) -> None:
    one, other = (
        Engine(Linear(), images, device="cpu", seed=seed).evaluate(ids(images), GaussianNoise(), 0.3).outcomes
        for seed in (0, 1)
    )
    assert all(a.subject != b.subject for a, b in zip(one, other, strict=True))


def test_an_image_that_is_wrong_when_clean_is_not_attacked_and_counts_as_wrong(images: ImageSet) -> None:
    engine = Engine(Linear(), images, device="cpu")
    clean = engine.evaluate(ids(images)).outcomes
    attacked = engine.evaluate(ids(images), FGSM(), 0.05).outcomes
    wrong = [(a, b) for a, b in zip(clean, attacked, strict=True) if not a.correct]
    assert wrong
    assert all(a == b for a, b in wrong)


def test_clip_and_ball_are_the_engines_whatever_the_attack_returns(images: ImageSet) -> None:
    seen = []

    @dataclass(frozen=True)
    class TooFar:
        norm: str = "linf"
        limit: ClassVar[float] = 1.0
        unit: ClassVar[str] = "epsilon"

        def against(
            self, classifier: object, goal: object, images: torch.Tensor, strengths: torch.Tensor, streams: Streams
        ) -> torch.Tensor:
            return images + 5

    class Watching(Linear):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(images.detach().clone())
            return super().forward(images)

    engine = Engine(Watching(), images, device="cpu")
    right = [outcome.image for outcome in engine.evaluate(ids(images)).outcomes if outcome.correct]
    engine.evaluate(right, TooFar(), 0.1)
    expected = (images.batch(right).images + 0.1).clamp(0, 1)
    assert torch.allclose(seen[-1][: len(right)], expected, atol=1e-6)


def test_the_model_is_left_as_it_was_found_also_after_an_error(images: ImageSet) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)
            self.drop = nn.Dropout(0.5).eval()
            self.head = nn.Linear(192, 3)
            self.head.bias.requires_grad_(False)
            self.fail = False
            self.modes: list[tuple[bool, ...]] = []

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.modes.append(tuple(module.training for module in self.modules()))
            if self.fail:
                raise RuntimeError("out of luck")
            return self.head(self.drop(self.norm(images)).flatten(1))

    model = Model().train()
    model.drop.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def state() -> tuple[list[bool], list[bool], list[torch.Tensor | None]]:
        return (
            [module.training for module in model.modules()],
            [parameter.requires_grad for parameter in model.parameters()],
            [parameter.grad for parameter in model.parameters()],
        )

    found = state()
    engine = Engine(model, images, device="cpu")
    engine.evaluate(ids(images), FGSM(), 0.1)
    assert state() == found
    model.fail = True
    with pytest.raises(InputError):
        engine.evaluate(ids(images), GaussianNoise(), 0.1)
    assert state() == found
    assert all(not any(mode) for mode in model.modes)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_vote_reports_the_shares_of_its_voters(images: ImageSet) -> None:
    engine = Engine(Linear(), images, device="cpu")
    vote = SmoothingVote(passes=3)
    for outcome in engine.behind(vote).evaluate(ids(images), GaussianNoise(), 0.3).outcomes:
        assert len(outcome.votes) == 4
        counts = {name: outcome.votes.count(name) for name in outcome.votes}
        best = max(counts, key=lambda name: counts[name])
        assert outcome.predicted == (best if counts[best] * 2 > 4 else None)
        assert outcome.subject == counts.get(outcome.accepted[0], 0) / 4
        assert dict(outcome.top) == {name: count / 4 for name, count in counts.items()}
        assert outcome.confidence == (counts[best] / 4 if outcome.predicted else 0.0)


def test_pictures_show_the_clean_and_the_stressed_image(images: ImageSet) -> None:
    engine = Engine(Linear(), images, device="cpu")
    clean, stressed = pictures(engine, ids(images)[0], GaussianNoise(), 0.2)
    assert (clean.caption, stressed.caption) == ("clean", "sigma 0.2")
    assert clean.png != stressed.png
    assert clean.png.startswith("data:image/png;base64,")


def test_provenance_changes_with_a_weight_an_image_and_the_seed(images: ImageSet) -> None:
    model = Linear()
    first = Engine(model, images, device="cpu").provenance
    assert Engine(model, images, device="cpu").provenance == first
    assert Engine(model, images, device="cpu", seed=1).provenance.key != first.key
    with torch.no_grad():
        model.weight[0, 0] += 1
    changed = Engine(model, images, device="cpu").provenance
    assert changed.model_digest != first.model_digest
    assert changed.images_digest == first.images_digest


def test_a_plain_function_may_be_a_model(images: ImageSet) -> None:
    model = Linear()
    engine = Engine(lambda batch: model(batch), images, device="cpu")
    assert engine.evaluate(ids(images)).outcomes == Engine(model, images, device="cpu").evaluate(ids(images)).outcomes
    assert engine.provenance.model_digest == ""


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda x: x.flatten(1)[:, :4],
            "the model: expected float logits of shape (n, 3), a row for each of n = 12 images and a column for each class of the "
            "image set, got float32 of shape (12, 4); give the image set the model's own classes, or fix the model's last layer",
        ),
        (
            lambda x: x.flatten(1)[:1, :3],
            "the model: expected float logits of shape (n, 3), a row for each of n = 12 images and a column for each class of the "
            "image set, got float32 of shape (1, 3); give the image set the model's own classes, or fix the model's last layer",
        ),
        (
            lambda x: x.flatten(1)[:, :3].argsort(1),
            "the model: expected float logits of shape (n, 3), a row for each of n = 12 images and a column for each class of the "
            "image set, got int64 of shape (12, 3); give the image set the model's own classes, or fix the model's last layer",
        ),
        (
            lambda x: (x.flatten(1)[:, :3], x),
            "the model: expected logits as a tensor of shape (n, 3), got tuple; return the logits alone",
        ),
        (
            lambda x: x.flatten(1)[:, :3].softmax(1),
            "the model: expected logits, got probabilities (every row is >= 0 and sums to 1), which hide gradients from attacks; "
            "return what goes into the softmax",
        ),
        (
            lambda x: x.flatten(1)[:, :3] / 0,
            "the model: expected finite logits, got NaN or infinity for 12 of 12 images, first a/00.png; "
            "look for a division by zero or an overflow in its forward",
        ),
    ],
    ids=["too many classes", "too few rows", "labels", "a tuple", "probabilities", "NaN"],
)
def test_a_model_that_does_not_return_logits_is_refused(
    images: ImageSet, model: Callable[[torch.Tensor], torch.Tensor], message: str
) -> None:
    with pytest.raises(InputError) as error:
        Engine(model, images, device="cpu").evaluate(ids(images))
    assert said(error) == message


def test_what_the_model_raises_is_told_in_a_sentence_with_its_place(images: ImageSet) -> None:
    class Wrong(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(images.flatten(1), torch.zeros(3, 7))

    with pytest.raises(RuntimeError) as raw:
        Wrong()(torch.zeros(12, 3, 8, 8))
    with pytest.raises(InputError) as error:
        Engine(Wrong(), images, device="cpu").evaluate(ids(images))
    lineno = Wrong.forward.__code__.co_firstlineno + 1
    assert said(error) == (
        f"the model raised RuntimeError at test_engine.py:{lineno} on images of shape (12, 3, 8, 8): {raw.value}; "
        "it has to accept RGB in [0, 1], (n, 3, h, w): check resize= and crop= of the image set"
    )


def test_what_a_model_of_torchs_own_modules_raises_is_placed_inside_torch(images: ImageSet) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(7, 3))
    with pytest.raises(RuntimeError) as raw:
        model(torch.zeros(12, 3, 8, 8))
    with pytest.raises(InputError) as error:
        Engine(model, images, device="cpu").evaluate(ids(images))
    assert said(error) == (
        f"the model raised RuntimeError inside torch on images of shape (12, 3, 8, 8): {raw.value}; "
        "it has to accept RGB in [0, 1], (n, 3, h, w): check resize= and crop= of the image set"
    )


def test_an_object_that_cannot_be_called_is_no_model(images: ImageSet) -> None:
    with pytest.raises(InputError) as error:
        Engine({"weights": 1}, images)  # type: ignore[arg-type]
    assert said(error) == "expected a model that maps images to logits, got dict; return an nn.Module"


def test_a_batch_size_below_1_is_refused(images: ImageSet) -> None:
    with pytest.raises(InputError) as error:
        Engine(Linear(), images, device="cpu", batch_size=0)
    assert said(error) == "expected a batch size >= 1 or 'auto', got 0"


@pytest.mark.parametrize(
    ("stress", "strength", "message"),
    [
        (
            FGSM(),
            8,
            "FGSM(): expected epsilon in [0, 1], in units of the [0, 1] pixel scale, got 8; did you mean 8/255?",
        ),
        (FGSM(), -0.1, "FGSM(): expected epsilon in [0, 1], in units of the [0, 1] pixel scale, got -0.1"),
        (FGSM(norm="l2"), -1, "FGSM(norm='l2'): expected epsilon >= 0, in units of the [0, 1] pixel scale, got -1"),
        (
            GaussianNoise(),
            1.5,
            "GaussianNoise(): expected sigma in [0, 1], in units of the [0, 1] pixel scale, got 1.5",
        ),
        (
            GaussianNoise(),
            float("nan"),
            "GaussianNoise(): expected sigma in [0, 1], in units of the [0, 1] pixel scale, got nan",
        ),
        (
            GaussianNoise(),
            "0.1",
            "GaussianNoise(): expected sigma in [0, 1], in units of the [0, 1] pixel scale, got '0.1'",
        ),
        (
            GaussianNoise(),
            True,
            "GaussianNoise(): expected sigma in [0, 1], in units of the [0, 1] pixel scale, got True",
        ),
        (FGSM, 0.1, "expected a stress such as FGSM() or GaussianNoise(), got FGSM; make an instance of a stress"),
        ("fgsm", 0.1, "expected a stress such as FGSM() or GaussianNoise(), got 'fgsm'; make an instance of a stress"),
        (None, 0.1, "expected a stress for strength 0.1, got None; name one, as in FGSM()"),
    ],
)
def test_a_strength_or_stress_that_means_nothing_is_refused(
    images: ImageSet, stress: FGSM, strength: float, message: str
) -> None:
    with pytest.raises(InputError) as error:
        Engine(Linear(), images, device="cpu").evaluate(ids(images), stress, strength)
    assert said(error) == message


def test_a_long_l2_epsilon_is_fine(images: ImageSet) -> None:
    assert Engine(Linear(), images, device="cpu").evaluate(ids(images), FGSM(norm="l2"), 3.0).outcomes


@pytest.mark.parametrize(("vote", "name"), [(SmoothingVote, "SmoothingVote"), ("vote", "'vote'")])
def test_a_defense_that_is_none_is_refused(images: ImageSet, vote: SmoothingVote, name: str) -> None:
    with pytest.raises(InputError) as error:
        Engine(Linear(), images, device="cpu").behind(vote)
    assert said(error) == f"expected a defense such as SmoothingVote(), got {name}; make an instance of a defense"


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda images: images[:, :1], "Own(): expected it to return images of shape (12, 3, 8, 8), got (12, 1, 8, 8)"),
        (lambda images: None, "Own(): expected it to return images of shape (12, 3, 8, 8), got NoneType"),
        (
            lambda images: images / 0,
            "Own(): expected finite pixels, got NaN or infinity; check the stress at this strength",
        ),
    ],
    ids=["shape", "nothing", "infinity"],
)
def test_a_stress_of_ones_own_that_returns_no_images_is_named(
    images: ImageSet, result: Callable[[torch.Tensor], torch.Tensor], message: str
) -> None:
    class Own:
        unit = "amount"
        limit = 1.0

        def __repr__(self) -> str:
            return "Own()"

        def __call__(self, images: torch.Tensor, strengths: Sequence[float], streams: Streams) -> torch.Tensor:
            return result(images)

    with pytest.raises(InputError) as error:
        Engine(Linear(), images, device="cpu").evaluate(ids(images), Own(), 0.5)
    assert said(error) == message


def test_a_stress_of_ones_own_needs_a_value_that_names_it(images: ImageSet) -> None:
    class Nameless:
        unit = "amount"
        limit = 1.0

    @dataclass
    class Mutable(Nameless):
        amount: int = 1

    for stress in (Nameless(), Mutable()):
        with pytest.raises(InputError) as error:
            Engine(Linear(), images, device="cpu").evaluate(ids(images), stress, 0.5)  # type: ignore[arg-type]
        assert said(error) == (
            f"{type(stress).__name__}: expected a repr that is its constructor call and a hash to match, because answers are kept "
            "and noise is seeded by them; make it a frozen dataclass"
        )


def test_provenance_survives_a_missing_file_and_odd_state(images: ImageSet) -> None:
    class Odd(Linear):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("steps", torch.tensor(3))
            self.register_buffer("empty", torch.zeros(0, 2))

        def get_extra_state(self) -> dict[str, int]:
            return {"version": 2}

        def set_extra_state(self, state: dict[str, int]) -> None:
            pass

    before = Engine(Odd(), images, device="cpu").provenance
    images.images[0].path.unlink()
    again = labelled_images(images.name, {i.id: i.labels for i in images.images}, classes=images.classes)
    after = Engine(Odd(), again, device="cpu").provenance
    assert before.model_digest == after.model_digest
    assert before.images_digest != after.images_digest


def test_auto_is_the_best_device_there_is() -> None:
    best = "cuda:0" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert str(resolve_device("auto")) == best
    assert str(resolve_device("cpu")) == "cpu"


def test_results_of_batches_before_an_error_are_kept(images: ImageSet) -> None:
    model = Linear()
    engine = Engine(model, images, device="cpu", batch_size=4)
    images.images[9].path.write_bytes(b"broken")
    with pytest.raises(InputError):
        engine.evaluate(ids(images))
    calls = len(model.calls)
    engine.evaluate(ids(images)[:8])
    assert len(model.calls) == calls


def assert_alike(found: Sequence[Outcome], expected: Sequence[Outcome]) -> None:
    """The same but for the last digits, which a batch of another size may round otherwise."""
    for one, other in zip(found, expected, strict=True):
        assert (one.image, one.predicted, one.correct) == (other.image, other.predicted, other.correct)
        assert one.subject == pytest.approx(other.subject, abs=1e-5)


def test_an_image_that_cannot_be_decoded_fails_alone(images: ImageSet) -> None:
    names = ids(images)
    good = Engine(Linear(), images, device="cpu").evaluate(names)
    for name in (names[3], names[9]):
        images[name].path.write_bytes(b"broken")
    again = image_folder(Path(images.name))
    engine = Engine(Linear(), again, device="cpu")
    with pytest.raises(InputError) as error:
        engine.evaluate(names)
    assert said(error) == (
        f"{again[names[3]].path}: expected an image, got a file in no format that Pillow reads; replace or remove it\n"
        f"{again[names[9]].path}: expected an image, got a file in no format that Pillow reads; replace or remove it\n"
        "2 of these 12 images can't be evaluated"
    )
    others = [name for name in names if name not in (names[3], names[9])]
    assert_alike(engine.evaluate(others).outcomes, [o for o in good.outcomes if o.image in others])


@pytest.mark.parametrize("stress", [None, GaussianNoise(), FGSM(), PGD(steps=3)], ids=repr)
def test_an_image_that_the_model_chokes_on_fails_alone(
    images: ImageSet, stress: GaussianNoise | FGSM | PGD | None
) -> None:
    """As a model does that takes the logarithm of a brightness: one image in the middle of a batch."""
    names = ids(images)
    black = images[names[5]].path
    Image.new("RGB", (8, 8)).save(black)

    class Chokes(Linear):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images).masked_fill((images.mean((1, 2, 3)) < 0.2)[:, None], torch.nan)

    engine = Engine(Chokes(), images, device="cpu")
    with pytest.raises(InputError) as error:
        engine.evaluate(names, stress, 0.01 if stress else 0.0)
    assert said(error) == (
        f"the model: expected finite logits, got NaN or infinity for 1 of 1 images, first {names[5]}; "
        "look for a division by zero or an overflow in its forward"
    )
    others = [name for name in names if name != names[5]]
    assert len(engine.evaluate(others, stress, 0.01 if stress else 0.0).outcomes) == 11


def short_of_memory(room: int, error: type[BaseException] = torch.OutOfMemoryError) -> Linear:
    """A model that runs out of memory with more than `room` images."""

    class Large(Linear):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if len(images) > room:
                raise error("CUDA out of memory. Tried to allocate 20.00 MiB.")
            return super().forward(images)

    return Large()


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("stress", [None, GaussianNoise(), FGSM(), PGD(steps=3)], ids=repr)
def test_out_of_memory_halves_the_batch_and_goes_on(
    images: ImageSet, stress: GaussianNoise | FGSM | PGD | None, error: type[BaseException]
) -> None:
    model = short_of_memory(4, error)
    engine = Engine(model, images, device="cpu", batch_size=12)
    strength = 0.01 if stress else 0.0
    outcomes = engine.evaluate(ids(images), stress, strength).outcomes
    assert_alike(outcomes, Engine(Linear(), images, device="cpu").evaluate(ids(images), stress, strength).outcomes)
    assert engine.batch_size <= 4
    model.calls.clear()
    engine.evaluate(ids(images), GaussianNoise(), 0.3)
    assert sum(model.calls) <= 16


def test_memory_that_does_not_suffice_for_a_single_image_is_told(images: ImageSet) -> None:
    with pytest.raises(InputError) as error:
        Engine(short_of_memory(2), images, device="cpu", batch_size=12).evaluate(ids(images))
    assert said(error) == (
        "out of memory on cpu with a batch of 4 images of shape (3, 8, 8); use smaller images or another device"
    )


def test_a_runtime_error_of_a_stress_that_is_no_lack_of_memory_passes_through(images: ImageSet) -> None:
    @dataclass(frozen=True)
    class Broken:
        unit: ClassVar[str] = "amount"
        limit: ClassVar[float] = 1.0

        def __call__(self, images: torch.Tensor, strengths: torch.Tensor, streams: Streams) -> torch.Tensor:
            raise RuntimeError("no such thing")

    with pytest.raises(RuntimeError, match=r"^no such thing$"):
        Engine(Linear(), images, device="cpu").evaluate(ids(images), Broken(), 0.1)


def test_strengths_that_are_asked_for_ahead_share_batches(images: ImageSet) -> None:
    model = Linear()
    engine = Engine(model, images, device="cpu", batch_size=32)
    _ = engine.provenance
    model.calls.clear()
    strengths = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    engine.prefetch([(image_id, strength) for image_id in ids(images) for strength in strengths], GaussianNoise())
    assert model.calls == [32, 28]
    ahead = [engine.evaluate(ids(images), GaussianNoise(), strength) for strength in strengths[1:]]
    assert len(model.calls) == 2
    alone = Engine(Linear(), images, device="cpu", batch_size=32)
    for strength, found in zip(strengths[1:], ahead, strict=True):
        assert_alike(found.outcomes, alone.evaluate(ids(images), GaussianNoise(), strength).outcomes)


def test_one_gradient_serves_fgsm_at_every_strength_and_answers_for_the_clean_image(images: ImageSet) -> None:
    gradients = []

    class Watched(Linear):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            gradients.append(images.requires_grad)
            return super().forward(images)

    engine = Engine(Watched(), images, device="cpu")
    outcomes = [engine.evaluate(ids(images), FGSM(), strength).outcomes for strength in (0.01, 0.02, 0.04)]
    clean = engine.evaluate(ids(images)).outcomes
    # Tried out on noise, four images at a time.
    assert gradients == [False, False, False, False, False, True, True, False, False, False]
    for strength, found in zip((0.01, 0.02, 0.04), outcomes, strict=True):
        fresh = Engine(Linear(), images, device="cpu")
        assert_alike(fresh.evaluate(ids(images)).outcomes, clean)
        assert_alike(fresh.evaluate(ids(images), FGSM(), strength).outcomes, found)


class Counted(Linear):
    """It may say something else each time."""

    def __init__(self, *, noise: float = 0.0) -> None:
        super().__init__()
        self.noise = noise

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = super().forward(images)
        return logits + self.noise * torch.rand_like(logits)


def test_what_the_model_said_during_an_attack_is_not_asked_again(images: ImageSet) -> None:
    attack, strength = PGD(steps=3), 0.3
    model = Counted()
    engine = Engine(model, images, device="cpu")
    engine.evaluate(ids(images)[:1], attack, strength)
    before = len(model.calls)
    engine.evaluate(ids(images)[1:], attack, strength)
    # All of them as they are, and those that are right at the edge of the ball, where they fall.
    assert len(model.calls) - before == 2
    under = engine.evaluate(ids(images), attack, strength).outcomes
    assert not any(outcome.correct for outcome in under)
    clean = engine.evaluate(ids(images)).outcomes
    right = sum(outcome.correct for outcome in clean)
    assert 0 < right < 12
    alone = Engine(Linear(), images, device="cpu")
    assert_alike(alone.evaluate(ids(images)).outcomes, clean)
    assert_alike(alone.evaluate(ids(images), attack, strength).outcomes, under)


def test_a_model_that_says_something_else_each_time_is_asked_again(images: ImageSet) -> None:
    model = Counted(noise=1e-4)
    engine = Engine(model, images, device="cpu")
    engine.evaluate(ids(images))
    before = len(model.calls)
    outcomes = engine.evaluate(ids(images), PGD(steps=3), 0.3).outcomes
    assert not any(outcome.correct for outcome in outcomes)
    # Three times tried out on noise; the gradient, the edge, and once more for the verdict.
    assert len(model.calls) - before == 3 + 3


def test_the_verdict_is_about_the_pixels_that_an_attack_ends_with_not_about_those_it_tried(images: ImageSet) -> None:
    """An attack that finds what it looks for, and hands out something else."""

    @dataclass(frozen=True)
    class OffByOne(PGD):
        def against(self, classifier, goal, images, strengths, streams):  # type: ignore[no-untyped-def]
            super().against(classifier, goal, images, strengths, streams)
            return images + 1e-4

    names = ids(images)
    engine = Engine(Linear(), images, device="cpu")
    clean, under = (engine.evaluate(names, *case).outcomes for case in ((), (OffByOne(steps=3), 0.3)))
    assert [outcome.correct for outcome in under] == [outcome.correct for outcome in clean]
    batch = images.batch(names)
    with torch.no_grad():
        probabilities = Linear()(batch.images + 1e-4).softmax(1).amax(1)
    for outcome, before, probability in zip(under, clean, probabilities, strict=True):
        if before.correct:
            assert outcome.confidence == pytest.approx(probability.item(), abs=2e-6)


def test_progress_is_told_after_every_batch_of_what_was_asked_for(images: ImageSet) -> None:
    told: list[tuple[int, int, str]] = []
    engine = Engine(Linear(), images, device="cpu", batch_size=5, progress=lambda *so_far: told.append(so_far))
    engine.evaluate(ids(images)[:2])
    engine.evaluate(ids(images))
    engine.evaluate(ids(images))
    engine.evaluate(ids(images), PGD(steps=2), 0.01)
    assert told == [(2, 2, "images"), (5, 10, "images"), (10, 10, "images"), (12, 12, "images")]


@pytest.mark.parametrize("stress", [FGSM(), PGD(steps=4), PGD(steps=4, random_start=True)], ids=repr)
def test_a_search_in_low_precision_is_decided_in_full(images: ImageSet, stress: FGSM) -> None:
    names = ids(images)
    full = Engine(Linear(), images, device="cpu").evaluate(names, stress, 0.02)
    seen: list[torch.dtype] = []

    class Watched(Linear):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = super().forward(images)
            seen.append(logits.dtype)
            return logits

    engine = Engine(Watched(), images, device="cpu", precision="bfloat16")
    coarse = engine.evaluate(names, stress, 0.02)
    assert torch.bfloat16 in seen
    assert seen[-1] == torch.float32
    assert engine.provenance.precision == "bfloat16"
    assert [o.correct for o in coarse.outcomes] == [o.correct for o in full.outcomes]


def test_a_success_of_low_precision_alone_is_attacked_again_in_full(images: ImageSet) -> None:
    """A model that is fooled by anything, but in bfloat16 only."""

    class Fooled(Linear):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = super().forward(images)
            return -logits if torch.is_autocast_enabled("cpu") else logits

    names = ids(images)
    for stress in (PGD(steps=3), FGSM()):
        coarse = Engine(Fooled(), images, device="cpu", precision="bfloat16").evaluate(names, stress, 1e-4)
        full = Engine(Linear(), images, device="cpu").evaluate(names, stress, 1e-4)
        assert [o.correct for o in coarse.outcomes] == [o.correct for o in full.outcomes]


def test_a_model_without_a_gradient_is_refused_and_attacked_by_square(images: ImageSet) -> None:
    linear = Linear()
    engine = Engine(lambda shown: linear(shown.detach()), images, device="cpu")
    for attack in (FGSM(), PGD(2)):
        with pytest.raises(InputError) as error:
            engine.evaluate(ids(images), attack, 0.1)
        assert said(error).splitlines()[0] == (
            "expected logits that depend on the images by differentiable operations, got logits without a gradient; "
            "remove no_grad, detach() or a round trip through numpy from the model's forward, or use Square(), which needs "
            "no gradient"
        )
    assert engine.evaluate(ids(images), Square(20), 0.1).correct < engine.evaluate(ids(images)).correct


def test_a_batch_of_integers_is_refused(images: ImageSet) -> None:
    with pytest.raises(InputError) as error:
        Batch(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.ones(1, 3, dtype=torch.bool), (ids(images)[0],))
    assert said(error) == "expected images as floats in [0, 1], got torch.uint8; divide bytes by 255"


def test_the_engine_of_another_model_is_the_same_in_all_else_and_keeps_its_answers(images: ImageSet) -> None:
    model, other = Linear(), Linear()
    with torch.no_grad():
        other.weight.neg_()
    engine = Engine(model, images, device="cpu", seed=7, batch_size=5)
    beside = engine.beside(other)
    assert engine.beside(model) is engine
    assert engine.beside(other) is beside
    assert (beside.model, beside.images, beside.seed, beside.batch_size) == (other, images, 7, 5)
    # The same noise: what is as random for both.
    alone = Engine(other, images, device="cpu", seed=7, batch_size=5)
    stress, strength = GaussianNoise(), 0.3
    assert beside.evaluate(ids(images), stress, strength) == alone.evaluate(ids(images), stress, strength)
    calls = len(other.calls)
    engine.beside(other).evaluate(ids(images), stress, strength)
    assert len(other.calls) == calls


def test_the_last_eight_engines_beside_one_are_kept(images: ImageSet) -> None:
    engine = Engine(Linear(), images, device="cpu")
    models = [Linear() for _ in range(9)]
    engines = [engine.beside(model) for model in models]
    assert engine.beside(models[-1]) is engines[-1]
    assert engine.beside(models[1]) is engines[1]
    assert engine.beside(models[0]) is not engines[0]


def test_gradients_are_those_of_the_log_odds_and_zeros_are_handed_out(images: ImageSet) -> None:
    model = Linear()
    engine = Engine(model, images, device="cpu")
    batch = images.batch(ids(images)[:5])
    shown = batch.images.clone().requires_grad_()
    Miss(batch.accepted).objective(model(shown)).sum().backward()
    assert shown.grad is not None
    torch.testing.assert_close(engine.gradients(batch), shown.grad)
    flat = Engine(lambda images: 0 * model(images), images, device="cpu").gradients(batch)
    assert not flat.any()
    with pytest.raises(InputError) as error:
        Engine(lambda images: model(images).detach(), images, device="cpu").gradients(batch)
    assert said(error).endswith("or use Square(), which needs no gradient")
