"""The bridge: images in batches through a stress and a model on a device, answers out as plain numbers.

The only module that knows both halves. Whatever a stress returns is projected to its ball, clamped to
[0, 1] and shown to the model again here; the verdict rests on that last answer alone.
"""

import contextlib
import functools
import hashlib
import math
import platform
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from pytest_robustness.attacks.goals import Miss
from pytest_robustness.defenses import ABSTAIN, majority
from pytest_robustness.errors import InputError
from pytest_robustness.images import data_uri
from pytest_robustness.loading import ImageSet
from pytest_robustness.norms import project
from pytest_robustness.records import Case, Evaluation, Outcome, Picture, Provenance
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Attack, Batch, Images, Logits, Perturbation, Voter, Votes

__all__ = ["Engine", "resolve_device"]

# Batches below this are filled up: alone, an image would take kernels that round otherwise than those of a
# batch (measured on a CPU: the same bits from 4 images on), and its answer would depend on its company.
_LEAST = 4

_Key = tuple[Attack | Perturbation | None, float, Voter | None]


class Engine:
    """One model on one device, asked about one image set; answers are kept, so asking twice costs once.

    `model` maps RGB in [0, 1], (n, 3, h, w), to logits (n, k); it is moved to `device` and otherwise left
    as found. `device` is "auto" (CUDA, else MPS, else the CPU) or a torch device. `batch_size` None means
    32 on a CPU and 128 elsewhere.

    Raises InputError for a model that can't be called, a device that isn't there or a batch size < 1.
    """

    def __init__(
        self,
        model: Callable[[Images], Logits],
        images: ImageSet,
        *,
        device: str = "auto",
        seed: int = 0,
        batch_size: int | None = None,
    ) -> None:
        if not callable(model):
            raise InputError(
                f"expected a model that maps images to logits, got {type(model).__name__}; return an nn.Module"
            )
        self.model = model
        self.images = images
        self.device = resolve_device(device)
        self.seed = seed
        self.batch_size = batch_size if batch_size is not None else 32 if self.device.type == "cpu" else 128
        if self.batch_size < 1:
            raise InputError(f"expected a batch size >= 1, got {batch_size}")
        if isinstance(model, nn.Module):
            model.to(self.device)
        self._kept: dict[_Key, dict[str, Outcome]] = {}

    def case(
        self, stress: Attack | Perturbation | None = None, strength: float = 0.0, defense: Voter | None = None
    ) -> Case:
        """The case in plain words; InputError where the strength is not one of the stress."""
        if defense is not None:
            _check_settings(defense, isinstance(defense, Voter), "a vote", "SmoothingVote()")
        behind = "" if defense is None else repr(defense)
        if stress is None:
            if strength:
                raise InputError(f"expected a stress for strength {strength:g}, got None; name one, as in FGSM()")
            return Case("", "", 0.0, behind)
        _check_settings(stress, hasattr(stress, "limit"), "a stress", "FGSM() or GaussianNoise()")
        _check_strength(stress, strength)
        if isinstance(stress, Attack) and defense is not None:
            raise InputError(
                f"{stress!r} behind {defense!r}: expected a perturbation, got an attack that does not know of the vote "
                "and would flatter it; use a perturbation such as GaussianNoise()"
            )
        return Case(repr(stress), stress.unit, float(strength), behind)

    def evaluate(
        self,
        ids: Sequence[str],
        stress: Attack | Perturbation | None = None,
        strength: float = 0.0,
        defense: Voter | None = None,
    ) -> Evaluation:
        """The outcomes of these images in one case; only what was not asked before is computed, in batches.

        Strength 0 is the clean image, whatever the stress. An attack is spared an image that is wrong when
        clean: the attacker needs no change there, so it counts as wrong. Outcomes are kept batch by batch:
        what was computed before an error stays.

        Raises InputError for a strength outside the stress's range, images that can't be read, and models
        or stresses that return something else than they should.
        """
        case = self.case(stress, strength, defense)
        kept = self._kept.setdefault((stress if strength else None, float(strength), defense), {})
        missing = [image_id for image_id in dict.fromkeys(ids) if image_id not in kept]
        if missing:
            with _as_run(self.model):
                for batch in self.images.batches(missing, self.batch_size):
                    outcomes = self._outcomes(self._on_device(batch), stress, strength, defense)
                    kept.update(zip(batch.ids, outcomes, strict=True))
        return Evaluation(case, tuple(kept[image_id] for image_id in ids))

    def pictures(self, image_id: str, stress: Attack | Perturbation, strength: float) -> tuple[Picture, Picture]:
        """The clean and the stressed image as the model sees them, with its top-5 of each."""
        with _as_run(self.model):
            batch = self._on_device(self.images.batch([image_id]))
            stressed = self._stressed(batch, stress, strength)
        clean, after = (self.evaluate([image_id], stress, s).outcomes[0].top for s in (0.0, strength))
        return (
            Picture(image_id, "clean", data_uri(batch.images[0]), clean),
            Picture(image_id, self.case(stress, strength).at, data_uri(stressed[0]), after),
        )

    @functools.cached_property
    def provenance(self) -> Provenance:
        """What the numbers are measured on."""
        model = self.model
        name = (
            type(model).__name__
            if isinstance(model, nn.Module)
            else getattr(model, "__qualname__", type(model).__name__)
        )
        return Provenance(
            model=name,
            model_digest=_fingerprint(model),
            images=self.images.name,
            images_digest=self.images.digest(),
            n=len(self.images),
            classes=self.images.classes,
            device=_device_name(self.device),
            seed=self.seed,
            batch_size=self.batch_size,
            versions=(
                ("pytest-robustness", version("pytest-robustness")),
                ("python", platform.python_version()),
                ("torch", torch.__version__),
            ),
        )

    def _on_device(self, batch: Batch) -> Batch:
        return Batch(batch.images.to(self.device), batch.accepted.to(self.device), batch.ids)

    def _outcomes(
        self, batch: Batch, stress: Attack | Perturbation | None, strength: float, defense: Voter | None
    ) -> list[Outcome]:
        stressed = self._stressed(batch, stress, strength)
        classifier = functools.partial(self._logits, batch.ids)
        with torch.no_grad():
            if defense is not None:
                return self._vote_outcomes(batch, defense.votes(classifier, stressed))
            return self._answers(batch, classifier(stressed))

    def _stressed(self, batch: Batch, stress: Attack | Perturbation | None, strength: float) -> Images:
        """The images as the model meets them: stressed, back in the ball and in [0, 1]."""
        if stress is None or strength == 0:
            return batch.images
        images = batch.images
        strengths = torch.full((len(images),), float(strength), device=self.device)
        streams = Streams(self.seed, repr(stress), batch.ids)
        if isinstance(stress, Attack):
            return self._attacked(batch, stress, strengths, streams)
        with torch.no_grad():
            stressed = stress(images, strengths, streams)
        return _checked_stressed(stress, stressed, images).clamp(0, 1)

    def _attacked(self, batch: Batch, attack: Attack, strengths: torch.Tensor, streams: Streams) -> Images:
        clean = self.evaluate(batch.ids).outcomes
        rows = [row for row, outcome in enumerate(clean) if outcome.correct]
        if not rows:
            return batch.images
        ids = tuple(batch.ids[row] for row in rows)
        images, strengths = batch.images[rows], strengths[rows]
        attacked = attack.against(
            functools.partial(self._logits, ids), Miss(batch.accepted[rows]), images, strengths, streams.select(rows)
        )
        attacked = _checked_stressed(attack, attacked.detach(), images)
        attacked = (images + project(attacked - images, attack.norm, strengths)).clamp(0, 1)
        return batch.images.index_copy(0, torch.tensor(rows, device=self.device), attacked)

    def _answers(self, batch: Batch, logits: Logits) -> list[Outcome]:
        probabilities = logits.softmax(1)
        subjects = (probabilities * batch.accepted).sum(1).tolist()
        highest, places = probabilities.topk(min(5, probabilities.shape[1]), dim=1)
        # topk may order a tie otherwise than argmax, which is what attacks and users go by.
        predicted = logits.argmax(1).tolist()
        tops = [list(zip(*row, strict=True)) for row in zip(places.tolist(), highest.tolist(), strict=True)]
        return [self._outcome(*row) for row in zip(batch.ids, predicted, subjects, tops, strict=True)]

    def _vote_outcomes(self, batch: Batch, votes: Votes) -> list[Outcome]:
        outcomes = []
        for image_id, answers, label in zip(batch.ids, votes.T.tolist(), majority(votes).tolist(), strict=True):
            shares = {answer: answers.count(answer) / len(answers) for answer in answers}
            top = sorted(shares.items(), key=lambda item: -item[1])
            subject = sum(shares.get(right, 0.0) for right in self.images[image_id].labels)
            outcomes.append(self._outcome(image_id, label, subject, top, answers))
        return outcomes

    def _outcome(
        self, image_id: str, label: int, subject: float, top: list[tuple[int, float]], votes: Sequence[int] = ()
    ) -> Outcome:
        image, names = self.images[image_id], self.images.classes
        return Outcome(
            image=image_id,
            accepted=self.images.accepted(image),
            predicted=None if label == ABSTAIN else names[label],
            correct=label in image.labels,
            confidence=round(dict(top).get(label, 0.0), 6),
            subject=round(subject, 6),
            top=tuple((names[place], round(share, 6)) for place, share in top),
            votes=tuple(names[vote] for vote in votes),
        )

    def _logits(self, ids: tuple[str, ...], images: Images) -> Logits:
        """The model's logits, checked; whatever the model raises comes back as one sentence."""
        n = len(images)
        if n < _LEAST:
            images = torch.cat([images, images[:1].expand(_LEAST - n, -1, -1, -1)])
        try:
            logits = self.model(images)
        except InputError:
            raise
        except Exception as error:
            first_line = (str(error).strip().splitlines() or ["no message"])[0]
            raise InputError(
                f"the model raised {type(error).__name__} {_origin(error)} on images of shape {tuple(images.shape)}: "
                f"{first_line}; it has to accept RGB in [0, 1], (n, 3, h, w): check resize= and crop= of the image set"
            ) from error
        checked = _checked_logits(logits, len(images), len(self.images.classes))[:n]
        _check_values(checked.detach(), ids)
        return checked


def resolve_device(name: str) -> torch.device:
    """The torch device of this name, "auto" being CUDA, else MPS, else the CPU; InputError where it isn't there."""
    cuda = torch.cuda.device_count()
    there = [f"cuda:{index}" for index in range(cuda)] + ["mps"] * torch.backends.mps.is_available() + ["cpu"]
    if name == "auto":
        return torch.device(there[0])
    full = "cuda:0" if name == "cuda" else name
    if full not in there:
        raise InputError(
            f"expected a device out of auto, {', '.join(there)}, got {name!r}; choose another with --robustness-device"
        )
    return torch.device(full)


def _device_name(device: torch.device) -> str:
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


@contextlib.contextmanager
def _as_run(model: Callable[[Images], Logits]) -> Iterator[None]:
    """The model in eval mode with frozen parameters, and afterwards, also after an error, as it was found."""
    if not isinstance(model, nn.Module):
        yield
        return
    training = [(module, module.training) for module in model.modules()]
    learning = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        # One by one, not model.eval(): a model may override it to keep parts in train mode.
        for module, _ in training:
            module.training = False
        for parameter, _ in learning:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, mode in training:
            module.training = mode
        for parameter, learns in learning:
            parameter.requires_grad_(learns)


def _origin(error: Exception) -> str:
    """Where the model's own code raised: `at file:line`, past the frames of torch and of this file, or `inside torch`."""
    others = (str(Path(torch.__file__).parent), __file__, "<")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(others)]
    return f"at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "inside torch"


def _check_settings(settings: object, fits: bool, kind: str, examples: str) -> None:
    """Refuse what is not an instance of its kind, or has no value of its own: answers are kept, and noise is seeded, by it."""
    if isinstance(settings, type) or not fits:
        name = settings.__name__ if isinstance(settings, type) else repr(settings)
        raise InputError(f"expected {kind} such as {examples}, got {name}; make an instance of {kind}")
    if type(settings).__hash__ is None or type(settings).__repr__ is object.__repr__:
        raise InputError(
            f"{type(settings).__name__}: expected a repr that is its constructor call and a hash to match, because answers are kept "
            "and noise is seeded by them; make it a frozen dataclass"
        )


def _check_strength(stress: Attack | Perturbation, strength: float) -> None:
    if not _is_number(strength) or not 0 <= strength <= stress.limit:
        upper = "" if math.isinf(stress.limit) else f" in [0, {stress.limit:g}]"
        scale = "" if stress.unit == "alpha" else ", in units of the [0, 1] pixel scale"
        at_least = " >= 0" if math.isinf(stress.limit) else ""
        hint = (
            f"; did you mean {strength:g}/255?"
            if stress.unit == "epsilon" and _is_number(strength) and strength > 1
            else ""
        )
        raise InputError(f"{stress!r}: expected {stress.unit}{upper}{at_least}{scale}, got {strength!r}{hint}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _checked_stressed(stress: Attack | Perturbation, stressed: object, images: Images) -> Images:
    if not isinstance(stressed, torch.Tensor) or stressed.shape != images.shape:
        got = tuple(stressed.shape) if isinstance(stressed, torch.Tensor) else type(stressed).__name__
        raise InputError(f"{stress!r}: expected it to return images of shape {tuple(images.shape)}, got {got}")
    if not torch.isfinite(stressed).all():
        raise InputError(f"{stress!r}: expected finite pixels, got NaN or infinity; check the stress at this strength")
    return stressed.to(images.dtype)


def _checked_logits(logits: object, n: int, k: int) -> Logits:
    if not isinstance(logits, torch.Tensor):
        raise InputError(
            f"the model: expected logits as a tensor of shape (n, {k}), got {type(logits).__name__}; "
            "return the logits alone"
        )
    if logits.shape != (n, k) or not logits.is_floating_point():
        raise InputError(
            f"the model: expected float logits of shape (n, {k}), a row for each of n = {n} images and a column for each class "
            f"of the image set, got {str(logits.dtype).removeprefix('torch.')} of shape {tuple(logits.shape)}; "
            "give the image set the model's own classes, or fix the model's last layer"
        )
    return logits


def _check_values(logits: Logits, ids: Sequence[str]) -> None:
    """Refuse logits that are not finite, or are probabilities; `ids` name the rows where an attack has kept them all."""
    finite = torch.isfinite(logits).all(1)
    if not finite.all():
        bad = (~finite).nonzero().flatten().tolist()
        first = f", first {ids[bad[0]]}" if len(ids) == len(logits) else ""
        raise InputError(
            f"the model: expected finite logits, got NaN or infinity for {len(bad)} of {len(logits)} images{first}; "
            "look for a division by zero or an overflow in its forward"
        )
    if logits.shape[1] > 1 and (logits >= 0).all() and ((logits.sum(1) - 1).abs() < 1e-3).all():
        raise InputError(
            "the model: expected logits, got probabilities (every row is >= 0 and sums to 1), which hide gradients from "
            "attacks; return what goes into the softmax"
        )


def _fingerprint(model: Callable[[Images], Logits]) -> str:
    """SHA-256 over the class of the model and every tensor of its state; empty for what is not an nn.Module."""
    if not isinstance(model, nn.Module):
        return ""
    total = hashlib.sha256(f"{type(model).__module__}.{type(model).__qualname__}".encode())
    for name, value in sorted(model.state_dict().items()):
        total.update(name.encode())
        if isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_quantized:
            total.update(f"{value.dtype} {tuple(value.shape)}".encode())
            total.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        else:
            # A module may keep any object in its state.
            total.update(repr(value).encode())
    return total.hexdigest()
