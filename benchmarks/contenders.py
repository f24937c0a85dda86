"""The contenders: the same attacks and sweeps by this package, other libraries and hand; and what the model alone costs.

n images of a set, (n, 3, h, w), float32 RGB in [0, 1]. Attacks are untargeted, in Linf, without a random start. All of it
runs in a `Worker`. Seconds are those of a call that nothing was kept for. The peers and the loop by hand find their images
decoded, stacked and on the device; this package is given the path of a folder, and its seconds include listing, decoding and
choosing how to run the model.
"""

import contextlib
import copy
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.material import LEVELS, OVERLAY, STEPS, Classifier, Device, Job, classifier, preloaded, read
from benchmarks.measure import Sample, peak_megabytes
from pytest_robustness import (
    FGSM,
    PGD,
    Blend,
    Engine,
    GateFailed,
    GaussianNoise,
    ImageSet,
    Robustness,
    image_folder,
    labelled_images,
)
from pytest_robustness.measurements import Accuracy

__all__ = ["Contender", "contend", "decode_alone", "limit", "memory", "photos", "throughput"]

Contender = Literal["by hand", "by hand, float64", "foolbox", "torchattacks", "ours", "ours, ladder"]

# Passes over the images that the limit is computed from: a fraction of PGD's, and long enough to be timed.
_PASSES = 3


def batch_size(device: Device) -> int:
    """Images in a batch of everybody but this package, which chooses its own."""
    return 32 if device == "cpu" else 128


class Loaded:
    """What a contender finds ready: the model and all images, on the device."""

    def __init__(self, name: Classifier, folder: Path, device: Device) -> None:
        self.model = classifier(name).to(device)
        self.images, self.labels = (tensor.to(device) for tensor in preloaded(folder))
        self.size = batch_size(device)

    def double(self) -> "Loaded":
        """The same in float64, which settles verdicts that hang on rounding."""
        other = copy.copy(self)
        other.model, other.images = copy.deepcopy(self.model).double(), self.images.double()
        return other

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The images and their labels, batch by batch."""
        yield from zip(torch.split(self.images, self.size), torch.split(self.labels, self.size), strict=True)


_loaded = functools.cache(Loaded)


def contend(contender: Contender, job: Job) -> Sample:
    """Do the job once. An image is right where the contender's last answers about it are: see each contender.

    For a sweep, one answer per level and image, level by level.
    """
    run = _CONTENDERS[contender]
    loaded = _loaded(job.classifier, job.images, job.device)
    _synchronize(job.device)
    began = time.perf_counter()
    right = run(loaded, job)
    # The answers are plain numbers: a GPU has finished.
    return Sample(time.perf_counter() - began, tuple(right))


def limit(job: Job) -> Sample:
    """What the model as given costs, and nothing else: steps x (forward + gradient by the images) + forward.

    For a sweep, a forward per level. Computed from a few timed passes over all images.
    """
    loaded = _loaded(job.classifier, job.images, job.device)
    steps = {"clean": 0, "fgsm": 1, "pgd": STEPS, "blend": 0}[job.stress]
    forwards = len(LEVELS) if job.stress == "blend" else 1
    seconds = forwards * _passes(_forward, loaded, job.device)
    if steps:
        seconds += steps * _passes(_gradient, loaded, job.device)
    return Sample(seconds)


def _passes(each: Callable[[nn.Module, Tensor, Tensor], Tensor], loaded: Loaded, device: Device) -> float:
    """Seconds of one pass over all batches, of several."""
    _synchronize(device)
    began = time.perf_counter()
    for _ in range(_PASSES):
        for images, labels in loaded.batches():
            each(loaded.model, images, labels)
    _synchronize(device)
    return (time.perf_counter() - began) / _PASSES


def _forward(model: nn.Module, images: Tensor, _: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(images)
        return logits


def _gradient(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(leaf), labels, reduction="sum"), leaf)
    return gradient


def _by_hand(loaded: Loaded, job: Job) -> list[bool]:
    """The textbook's loops. Under an attack an image is right if it is so when clean and at every iterate."""
    if job.stress == "clean":
        return _swept(loaded, [0.0])
    if job.stress == "blend":
        return _swept(loaded, LEVELS)
    steps, step_size = (1, 1.0) if job.stress == "fgsm" else (STEPS, 2.5 / STEPS)
    right: list[bool] = []
    for images, labels in loaded.batches():
        standing = torch.ones_like(labels, dtype=torch.bool)
        current = images
        for _ in range(steps):
            leaf = current.clone().requires_grad_()
            logits = loaded.model(leaf)
            standing &= logits.argmax(1) == labels
            (gradient,) = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), leaf)
            moved = current + step_size * job.epsilon * gradient.sign()
            current = (images + (moved - images).clamp(-job.epsilon, job.epsilon)).clamp(0, 1)
        standing &= _forward(loaded.model, current, labels).argmax(1) == labels
        right += standing.tolist()
    return right


def _swept(loaded: Loaded, levels: Sequence[float]) -> list[bool]:
    """Every image at every level, whatever became of it before."""
    overlay = _overlay(loaded.images)
    right: list[bool] = []
    for level in levels:
        for images, labels in loaded.batches():
            blended = images if level == 0 else (1 - level) * images + level * overlay
            right += (_forward(loaded.model, blended, labels).argmax(1) == labels).tolist()
    return right


def _overlay(images: Tensor) -> Tensor:
    """The overlay, which is square as they are, at the size of the images."""
    square = read(OVERLAY)[None].to(images)
    return F.interpolate(square, size=images.shape[-2:], mode="bilinear", antialias=True, align_corners=False)


def _foolbox(loaded: Loaded, job: Job) -> list[bool]:
    """As its guide writes it. An image is right if its last iterate is: foolbox asks about that one itself."""
    import foolbox

    model = foolbox.PyTorchModel(loaded.model, bounds=(0, 1), device=loaded.images.device)
    attack = (
        foolbox.attacks.LinfFastGradientAttack(random_start=False)
        if job.stress == "fgsm"
        else foolbox.attacks.LinfPGD(rel_stepsize=2.5 / STEPS, steps=STEPS, random_start=False)
    )
    right: list[bool] = []
    for images, labels in loaded.batches():
        _, _, fooled = attack(model, images, labels, epsilons=job.epsilon)
        right += (~fooled).tolist()
    return right


def _torchattacks(loaded: Loaded, job: Job) -> list[bool]:
    """As its guide writes it. An image is right if its last iterate is, by one more forward."""
    import torchattacks

    attack = (
        torchattacks.FGSM(loaded.model, eps=job.epsilon)
        if job.stress == "fgsm"
        else torchattacks.PGD(
            loaded.model, eps=job.epsilon, alpha=2.5 / STEPS * job.epsilon, steps=STEPS, random_start=False
        )
    )
    right: list[bool] = []
    for images, labels in loaded.batches():
        right += (_forward(loaded.model, attack(images, labels), labels).argmax(1) == labels).tolist()
    return right


def _ours(loaded: Loaded, job: Job) -> list[bool]:
    """The measurements of the public API, every level of a sweep; nothing is kept from any call before."""
    robustness = _fresh(loaded.model, image_folder(job.images), job.device)
    if job.stress == "clean":
        return _right(robustness.accuracy())
    if job.stress == "blend":
        overlay = Blend(OVERLAY)
        return [right for level in LEVELS for right in _right(robustness.accuracy(overlay, level))]
    return _right(robustness.accuracy(FGSM() if job.stress == "fgsm" else PGD(steps=STEPS), job.epsilon))


def _our_ladder(loaded: Loaded, job: Job) -> list[bool]:
    """The gate over a sweep: an image is right at the levels below the one that it breaks at."""
    robustness = _fresh(loaded.model, image_folder(job.images), job.device)
    with contextlib.suppress(GateFailed):
        robustness.assert_holds_until(robustness.engine.images, Blend(OVERLAY), LEVELS[-1], levels=len(LEVELS) - 1)
    ladders = robustness.verdicts[-1].ladders
    return [ladder.broke is None or level < ladder.broke for level in LEVELS for ladder in ladders]


_CONTENDERS: dict[Contender, Callable[[Loaded, Job], list[bool]]] = {
    "by hand": _by_hand,
    "by hand, float64": lambda loaded, job: _by_hand(loaded.double(), job),
    "foolbox": _foolbox,
    "torchattacks": _torchattacks,
    "ours": _ours,
    "ours, ladder": _our_ladder,
}


def _fresh(model: nn.Module, images: ImageSet, device: Device) -> Robustness:
    return Robustness(Engine(model, images, device=device))


def _right(accuracy: Accuracy) -> list[bool]:
    return [outcome.correct for outcome in accuracy.evaluation.outcomes]


def decode_alone(folder: Path) -> Sample:
    """Listing and decoding a folder by this package, which its other seconds include."""
    began = time.perf_counter()
    images = image_folder(folder)
    for image in images.images:
        images.batch([image.id])
    return Sample(time.perf_counter() - began)


def memory(folder: Path) -> float:
    """The peak of a process that measured the accuracy on clean and on noisy images of a folder, in megabytes."""
    robustness = _fresh(classifier("two_convolutions"), image_folder(folder), "cpu")
    robustness.accuracy()
    robustness.accuracy(GaussianNoise(), 0.1)
    return peak_megabytes()


_RESIZE, _CROP = 256, 224


def photos(contender: Literal["ours", "by hand", "preloaded"], folder: Path, device: Device) -> Sample:
    """The answers to the photos of a folder's folders: decoded, resized and cropped, by this package or by hand, or beforehand."""
    paths = sorted(folder.glob("*/*"))
    size = batch_size(device)
    model = _classifier("mobilenet_v2", device)
    ready = _preloaded_photos(folder, device) if contender == "preloaded" else None
    _synchronize(device)
    began = time.perf_counter()
    if contender == "ours":
        _fresh(model, _photo_set(folder), device).accuracy()
    else:
        for start in range(0, len(paths), size):
            if ready is None:
                chosen = paths[start : start + size]
                images = torch.stack([read(path, resize=_RESIZE, crop=_CROP) for path in chosen]).to(device)
            else:
                images = ready[start : start + size]
            _forward(model, images, images).argmax(1).tolist()
    return Sample(time.perf_counter() - began)


@functools.cache
def _classifier(name: Classifier, device: Device) -> nn.Module:
    return classifier(name).to(device)


@functools.cache
def _preloaded_photos(folder: Path, device: Device) -> Tensor:
    images = _photo_set(folder)
    return images.batch([image.id for image in images.images]).images.to(device)


def _photo_set(folder: Path) -> ImageSet:
    # What is right does not matter here: a forward costs the same.
    labels = {path.relative_to(folder).as_posix(): [0] for path in folder.glob("*/*")}
    classes = [str(number) for number in range(1000)]
    return labelled_images(folder, labels, classes=classes, accept={"grey"}, resize=_RESIZE, crop=_CROP)


def throughput(contender: Literal["ours", "bare"], folder: Path, precision: Literal["float32", "tf32"]) -> Sample:
    """PGD on CUDA where no image is ever fooled, once the clean images are answered; or the same number of bare passes.

    ResNet-50 without training. The labels are its own answers and epsilon is too small to change a pixel, so that every
    image stays in the batch for all steps.
    """
    images = _preloaded_png(folder)
    model = _classifier("resnet50", "cuda")
    size = batch_size("cuda")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    labels = torch.cat([_forward(model, part, part).argmax(1) for part in torch.split(images, size)])
    if contender == "bare":
        _synchronize("cuda")
        began = time.perf_counter()
        for part, own in zip(torch.split(images, size), torch.split(labels, size), strict=True):
            for _ in range(STEPS):
                _gradient(model, part, own)
            _forward(model, part, own)
        _synchronize("cuda")
        return Sample(time.perf_counter() - began)
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*"))
    own_answers = dict(zip(paths, ([label] for label in labels.tolist()), strict=True))
    classes = [str(number) for number in range(1000)]
    image_set = labelled_images(folder, own_answers, classes=classes)
    robustness = Robustness(Engine(model, image_set, device="cuda", precision=precision))
    robustness.accuracy()
    _synchronize("cuda")
    began = time.perf_counter()
    accuracy = robustness.accuracy(PGD(steps=STEPS), 1e-12)
    return Sample(time.perf_counter() - began, tuple(_right(accuracy)))


@functools.cache
def _preloaded_png(folder: Path) -> Tensor:
    return preloaded(folder)[0].to("cuda")


def _synchronize(device: Device) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
