"""Perturbations from outside: functions of a user's own, and transforms of torchvision, kornia and albumentations.

Images are float32 RGB in [0, 1], (n, 3, h, w); strengths (n,), one per image.
"""

import contextlib
import functools
import inspect
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy
import torch

from pytest_robustness.errors import InputError
from pytest_robustness.perturbations.choices import check_choice
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Images, Strengths

__all__ = ["Custom", "Pixels", "Wrapped", "perturbation", "wrapped"]

Pixels: TypeAlias = Literal["float", "uint8"]


@dataclass(frozen=True, repr=False)
class Custom:
    """A function as a perturbation; made by `perturbation`. Its repr is the function's qualified name."""

    function: Callable[..., Images]
    unit: str
    limit: float

    def __post_init__(self) -> None:
        _check_range(self, self.unit, self.limit)
        if not _takes(self.function):
            raise InputError(
                f"{self!r}: expected a function of (images, strengths) or (images, strengths, streams), "
                f"got {_signature(self.function)}"
            )

    def __repr__(self) -> str:
        return _name(self.function)

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        # A copy, because images += ... is easily written, and these will be shown again.
        made = self.function(images.clone(), *(strengths, streams)[: _takes(self.function) - 1])
        return torch.where(strengths.reshape(-1, 1, 1, 1) > 0, _checked(self, made, images), images)


def perturbation(*, unit: str, limit: float = math.inf) -> Callable[[Callable[..., Images]], Custom]:
    """Make a function a perturbation, whose strengths run from 0 to `limit` in this unit.

        @perturbation(unit="density", limit=1)
        def fog(images, strengths):
            return images + strengths.reshape(-1, 1, 1, 1) * (0.8 - images)

    The function is given images (n, 3, h, w) and strengths (n,) and returns images of that shape; values may leave
    [0, 1]. It has to treat each image by itself. Random numbers come from a third argument, as `streams.normal(images)`
    or `streams.uniform(images)`. At strength 0 an image stays as it is, whatever the function returns.

    Raises InputError for a function of other arguments, and for a unit or a limit that means nothing.
    """
    return functools.partial(Custom, unit=unit, limit=limit)


@dataclass(frozen=True, repr=False)
class Wrapped:
    """A transform of another library as a perturbation; made by `wrapped`."""

    transform: Callable[..., Any]
    parameter: str | None
    unit: str
    limit: float
    pixels: Pixels

    def __post_init__(self) -> None:
        if not hasattr(_innermost(self.transform), "__qualname__"):
            raise InputError(
                f"wrapped: expected a class or a function that makes a transform of a strength, got {self.transform!r}; "
                "write lambda s: in front of it and s in place of the parameter to sweep"
            )
        check_choice(self, "pixels", Pixels)
        _check_range(self, self.unit, self.limit)

    def __repr__(self) -> str:
        shown: dict[str, tuple[object, object]] = {
            "parameter": (self.parameter, None),
            "unit": (self.unit, self.parameter or "strength"),
            "limit": (self.limit, math.inf),
            "pixels": (self.pixels, "float"),
        }
        changed = [f"{name}={value!r}" for name, (value, default) in shown.items() if value != default]
        return f"wrapped({', '.join([_name(self.transform), *changed])})"

    def __call__(self, images: Images, strengths: Strengths, streams: Streams) -> Images:
        # Of the other devices' generators not all can be put back.
        device = images.device if images.device.type == "cuda" else torch.device("cpu")
        stressed, seeds, each = images.to(device, copy=True), streams.seeds(), strengths.tolist()
        with _randomness_put_back(device):
            for strength in sorted(set(each) - {0.0}):
                rows = [row for row, other in enumerate(each) if other == strength]
                self._apply(self._made(strength), stressed, rows, seeds)
        return stressed.to(images.device)

    def _made(self, strength: float) -> Any:
        """The transform of this strength."""
        transform = self.transform(strength) if self.parameter is None else self.transform(**{self.parameter: strength})
        if not callable(transform):
            raise InputError(
                f"{self!r}: expected it to make a transform of strength {strength:g}, got {type(transform).__name__}"
            )
        return transform

    def _apply(self, transform: Any, images: Images, rows: list[int], seeds: tuple[int, ...]) -> None:
        """Transform these rows of the images in place, each with random numbers of its own."""
        may_share = not _is_of_albumentations(transform)
        while rows:
            made, drew = self._seeded(transform, images[rows[:1]], seeds[rows[0]])
            images[rows[:1]] = made
            rows = rows[1:]
            if may_share and rows and not drew:
                # Without random numbers images can share a batch.
                made, drew = self._seeded(transform, images[rows], seeds[rows[0]])
                if not drew:
                    images[rows] = made
                    return
                may_share = False

    def _seeded(self, transform: Any, images: Images, seed: int) -> tuple[Images, bool]:
        """What the transform makes of these with all generators seeded so, and whether it drew numbers from one."""
        _seed(transform, seed, images.device)
        first = _draw(images.device)
        _seed(transform, seed, images.device)
        made = self._seen(transform, images)
        return made, _draw(images.device) != first

    def _seen(self, transform: Any, images: Images) -> Images:
        """What the transform makes of a batch; of a single image where it is of albumentations."""
        shown = (images.clamp(0, 1) * 255).round().to(torch.uint8) if self.pixels == "uint8" else images
        if _is_of_albumentations(transform):
            array = transform(image=shown[0].permute(1, 2, 0).contiguous().cpu().numpy())["image"]
            made = torch.from_numpy(numpy.ascontiguousarray(array)).permute(2, 0, 1).unsqueeze(0).to(images.device)
        else:
            made = transform(shown)
        made = _checked(self, made, images)
        return made / 255 if made.dtype == torch.uint8 else made


def wrapped(
    transform: Callable[..., Any],
    *,
    parameter: str | None = None,
    unit: str = "",
    limit: float = math.inf,
    pixels: Pixels = "float",
) -> Wrapped:
    """A transform of torchvision (v2), kornia or albumentations, as a perturbation by one setting, which is swept.

        wrapped(functools.partial(v2.GaussianBlur, 5), parameter="sigma")
        wrapped(lambda s: albumentations.GaussNoise(std_range=(s, s), p=1), unit="sigma", limit=1)

    `transform` makes the transform of a strength, which it is given by position, or as the `parameter` of this name,
    which is then the unit too. Transforms of albumentations are given one image (h, w, 3) at a time, others a batch
    (n, 3, h, w), each image of which they have to treat by itself; `pixels` says whether as float32 in [0, 1] or rounded
    to "uint8". They have to keep the size, and are not asked at strength 0, where an image stays as it is.

    Where they are random, each image is transformed alone, with Python's, numpy's, torch's and albumentations' generators
    seeded for it; the global ones are put back. Other generators of a transform's own can't be seeded.

    Raises InputError for a transform in place of what makes one, and for settings that mean nothing.
    """
    return Wrapped(transform, parameter, unit or parameter or "strength", limit, pixels)


def _takes(function: object) -> int:
    """How many arguments a function is given, 2 or 3; 0 where neither fits."""
    try:
        signature = inspect.signature(function)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return 0
    fits = [count for count in (2, 3) if _binds(signature, count)]
    # A third one with a default may be a setting of the user's.
    if fits == [2, 3] and list(signature.parameters)[2:3] != ["streams"]:
        return 2
    return max(fits, default=0)


def _binds(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def _signature(function: object) -> str:
    """What is known of a function's arguments, for a message."""
    try:
        return str(inspect.signature(function))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return f"{function!r}, whose arguments are not known"


def _innermost(function: object) -> object:
    return _innermost(function.func) if isinstance(function, functools.partial) else function


def _name(function: object) -> str:
    """The qualified name of a function or class, the same in every process; of a partial one with its arguments."""
    if isinstance(function, functools.partial):
        settings = [*map(repr, function.args), *(f"{name}={value!r}" for name, value in function.keywords.items())]
        return f"functools.partial({', '.join([_name(function.func), *settings])})"
    if not hasattr(function, "__qualname__"):
        return repr(function)
    return f"{getattr(function, '__module__', None)}.{function.__qualname__}"


def _check_range(stress: object, unit: object, limit: object) -> None:
    if not isinstance(unit, str) or not unit.strip():
        raise InputError(
            f"{stress!r}: expected unit to be what strengths are counted in, such as 'sigma', got {unit!r}"
        )
    if not isinstance(limit, (int, float)) or isinstance(limit, bool) or not limit > 0:
        raise InputError(f"{stress!r}: expected limit to be a number > 0, got {limit!r}; leave it out for none")


def _checked(stress: object, made: object, images: Images) -> Images:
    if not isinstance(made, torch.Tensor) or made.shape != images.shape:
        got = tuple(made.shape) if isinstance(made, torch.Tensor) else type(made).__name__
        raise InputError(f"{stress!r}: expected it to return images of shape {tuple(images.shape)}, got {got}")
    return made


def _is_of_albumentations(transform: object) -> bool:
    return any(kind.__module__.partition(".")[0] == "albumentations" for kind in type(transform).__mro__)


@contextlib.contextmanager
def _randomness_put_back(device: torch.device) -> Iterator[None]:
    """The global generators of Python, numpy and torch, afterwards as they were before."""
    of_python, of_numpy = random.getstate(), numpy.random.get_state()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            random.setstate(of_python)
            numpy.random.set_state(of_numpy)


def _seed(transform: Any, seed: int, device: torch.device) -> None:
    """All generators that the transform may draw from; on a GPU that of the device too."""
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    if hasattr(transform, "set_random_seed"):
        transform.set_random_seed(seed)


def _draw(device: torch.device) -> tuple[float, ...]:
    """The next number of each global generator: another one where numbers were drawn before."""
    drawn = [random.random(), numpy.random.random(), torch.rand(()).item()]
    return (*drawn, torch.rand((), device=device).item()) if device.type == "cuda" else tuple(drawn)
