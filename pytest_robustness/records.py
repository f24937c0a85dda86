"""Plain numbers that outlive the tensors: outcomes, evaluations, ladders, matrices and verdicts, to and from JSON.

Nothing here needs torch: the controller of a distributed run and the report build on these alone.
Probabilities are in [0, 1]; strengths are in the unit of their stress (`Case.unit`).
"""

import dataclasses
import functools
import hashlib
import json
import types
import typing
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pytest_robustness.charts import Chart
from pytest_robustness.explained import Explained, Picture
from pytest_robustness.traces import Trace

__all__ = [
    "Case",
    "Choice",
    "Doubt",
    "Evaluation",
    "Ladder",
    "Matrix",
    "Outcome",
    "Pair",
    "Provenance",
    "Status",
    "Verdict",
    "from_builtin",
    "path_text",
    "printable",
    "strength_text",
    "to_builtin",
]

Status = Literal["pass", "fail", "undecided", "untrusted", "error"]
Choice = Literal["all", "drawn", "given"]
"""Which pairs of an image and a target: of every other class, of a balanced sample of them, or those that were named."""

_R = TypeVar("_R")


@dataclass(frozen=True)
class Outcome:
    """What became of one image in one case.

    `predicted` is None where a vote abstained. `confidence` belongs to the predicted class and
    `subject` to the accepted classes together; `top` holds up to five (class, probability), highest
    first. Of a vote, the probabilities are the shares of its voters, and `votes` names what each said.

    `queries` counts how often the model was asked for it, and `gradients` for how many of those a gradient was taken; of an
    attack, what the attack asked, without the check of what it found. Under an attack, `distance` is the length of the
    change in the attack's norm, `found_by` names the attack of several that broke the image, and `silent` is True where
    an attack of another library had shown the model what broke the image, and did not return it. `radius` is that of the L2
    ball in which a certifying defense vouches for its answer.
    """

    image: str
    accepted: tuple[str, ...]
    predicted: str | None
    correct: bool
    confidence: float
    subject: float
    top: tuple[tuple[str, float], ...]
    votes: tuple[str, ...] = ()
    queries: int = 1
    gradients: int = 0
    distance: float | None = None
    found_by: str = ""
    silent: bool = False
    radius: float | None = None

    @property
    def margin(self) -> float:
        """How far the accepted classes are ahead of the strongest other class; negative where they are behind."""
        others = (share for name, share in self.top if name not in self.accepted)
        return self.subject - max(others, default=0.0)

    @property
    def answer(self) -> str:
        """The answer in a few words: `zebra 0.61`, or of a vote `no majority`, of another defense `no answer`."""
        if self.predicted is None:
            return "no majority" if self.votes else "no answer"
        return f"{self.predicted} {self.confidence:.2f}"


@dataclass(frozen=True)
class Case:
    """A stress at a strength, answered by the model behind a defense or by the model alone (`defense` empty).

    `stress` and `defense` are constructor calls; `stress` is empty for clean images. `library` names the library that the
    stress is of, with its version; empty for our own.
    """

    stress: str
    unit: str
    strength: float
    defense: str = ""
    library: str = ""

    @property
    def at(self) -> str:
        """The strength with its unit: `epsilon 2/255`, `alpha 0.25`."""
        return f"{self.unit} {strength_text(self.unit, self.strength)}"

    @property
    def under(self) -> str:
        """The stress, and the defense against it, without the strength: `FGSM() behind SmoothingVote()`."""
        return self._behind(self.stress)

    @property
    def title(self) -> str:
        """The case in words: `FGSM() at epsilon 2/255`, `clean images`."""
        return self._behind(f"{self.stress} at {self.at}" if self.stress else "clean images")

    def _behind(self, text: str) -> str:
        return f"{text} behind {self.defense}" if self.defense else text


def strength_text(unit: str, strength: float) -> str:
    """A strength as people write it: an epsilon as a multiple of 1/255 where it is one, else a short decimal."""
    steps = strength * 255
    if unit == "epsilon" and 0.2 < steps <= 64 and abs(steps * 4 - round(steps * 4)) < 1e-6:
        return f"{steps:g}/255"
    return f"{strength:.4g}"


def path_text(path: Path) -> str:
    """The path with forward slashes; relative below the working directory, so that reports agree between machines."""
    here = Path.cwd()
    return printable((path.relative_to(here) if path.is_relative_to(here) else path).as_posix())


def printable(text: str) -> str:
    """The text on one line, in characters that can be seen and encoded: line breaks, control characters, those that turn the
    direction of writing and bytes of a file name that are no UTF-8 as Python escapes them."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


@dataclass(frozen=True)
class Evaluation:
    """The outcomes of one case, one per image, in the order of the image set."""

    case: Case
    outcomes: tuple[Outcome, ...]

    @property
    def correct(self) -> int:
        """How many images the model answered with an accepted class."""
        return sum(outcome.correct for outcome in self.outcomes)


@dataclass(frozen=True)
class Ladder:
    """One image under one stress at ascending strengths, climbed until top-1 leaves the accepted classes.

    `stress` is `Case.under`. The rungs begin with strength 0; only the last one can be wrong. `levels` are all the strengths that
    were planned, `held` the largest at which top-1 was still right, None where the clean image is wrong
    already; `broke` is the smallest at which it was not, None where it never broke. `above` are the rungs beyond
    the break, where they were looked at. `library` is that of the `Case`.
    """

    image: str
    stress: str
    unit: str
    levels: tuple[float, ...]
    rungs: tuple[tuple[float, Outcome], ...]
    above: tuple[tuple[float, Outcome], ...] = ()
    library: str = ""

    @property
    def held(self) -> float | None:
        right = self.rungs if self.rungs[-1][1].correct else self.rungs[:-1]
        return right[-1][0] if right else None

    @property
    def broke(self) -> float | None:
        strength, outcome = self.rungs[-1]
        return None if outcome.correct else strength

    @property
    def recovered(self) -> float | None:
        """The smallest strength above the break at which top-1 is right again, None where none was found."""
        return next((strength for strength, outcome in self.above if outcome.correct), None)


@dataclass(frozen=True)
class Pair:
    """What became of one image, of the class `true`, that was attacked towards another."""

    image: str
    true: str
    target: str
    outcome: Outcome

    @property
    def caption(self) -> str:
        """What is written below its picture."""
        return f"towards {self.target}"


@dataclass(frozen=True)
class Matrix:
    """How often images of one class could be made to pass as another: successes and attempts by true class and target.

    `classes` are all that take part on either side, in the model's order. `cells` has a text for each of them as the true
    class: `3/10 0/10 - 1/4`, successes and attempts towards each of `classes` in turn, `-` where none was tried and
    `-*97` for 97 cells that are alike. `groups` are broad groups of classes by name. Images that were wrong when clean were not
    attacked: `excluded` counts them by class. `planned` counts the pairs of all shards of the run, those of images that
    are excluded too; `targets` the classes drawn for each image, 0 where they were not drawn. `queries` and `gradients` are
    sums over the pairs. `examples` are some of the successes.
    """

    case: Case
    classes: tuple[str, ...]
    cells: tuple[str, ...]
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    excluded: tuple[tuple[str, int], ...] = ()
    choice: Choice = "all"
    targets: int = 0
    planned: int = 0
    queries: int = 0
    gradients: int = 0
    examples: tuple[Pair, ...] = ()


@dataclass(frozen=True)
class Provenance:
    """What the numbers were measured on: without it they can't be compared with anything.

    `precision` is that of the search of attacks; `execution` says how the model was run, and why not faster;
    `machine` names the operating system and the processors. `preprocessing` is what the model's source says that it was trained to see.
    `skipped` are id and reason of the images that can't be read and were left
    out, of which `n` counts none.
    """

    model: str
    model_digest: str
    images: str
    images_digest: str
    n: int
    classes: tuple[str, ...]
    device: str
    seed: int
    precision: str
    execution: str
    versions: tuple[tuple[str, str], ...]
    machine: str = ""
    preprocessing: str = ""
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def amount(self) -> str:
        """How many images, in words: `200 images`, or `197 of 200 images (3 skipped)`."""
        left_out = len(self.skipped)
        return f"{self.n} of {self.n + left_out} images ({left_out} skipped)" if left_out else f"{self.n} images"

    @functools.cached_property
    def key(self) -> str:
        """A short digest of all of it, by which verdicts refer to it."""
        return hashlib.sha256(json.dumps(to_builtin(self)).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Doubt:
    """Why an attack on a model may not be believed: the check that says so, what it saw, and what to do about it.

    `waiver` is the reason why the doubt does not count, empty where it does.
    """

    check: str
    said: str
    remedy: str
    waiver: str = ""


@dataclass(frozen=True)
class Verdict:
    """One judged gate: what was asked, what was measured, and the sentence that says why it passed or not.

    `test` is the pytest node id, `run` the key of the Provenance. `measured`, `required` and `margin` (by how much
    the bar is cleared, in the unit of the gate) are None where the gate measured nothing, as in an error.
    `interval` is the exact 95 % interval of a proportion. `expected` marks a verdict other than pass that
    the test itself asked for, by xfail or by catching it. `checks` names the checks that an attack on the model has been
    through, and `doubts` are what they found. `of` says which rate of its matrix a gate is about. `traces`,
    `explained` and `charts` are those that the test made beside it. `reproduce` is the command that judges it again.
    With a `confidence`, what is measured is a bound for all images of which these are a sample. `fallen` are the images by which
    a gate failed, the worst first, each with the strength at which it fell.
    """

    gate: str
    claim: str
    status: Status
    reason: str
    measured: float | None = None
    required: float | None = None
    margin: float | None = None
    n: int = 0
    interval: tuple[float, float] | None = None
    evaluations: tuple[Evaluation, ...] = ()
    ladders: tuple[Ladder, ...] = ()
    matrices: tuple[Matrix, ...] = ()
    of: str = ""
    pictures: tuple[Picture, ...] = ()
    checks: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    traces: tuple[Trace, ...] = ()
    explained: tuple[Explained, ...] = ()
    charts: tuple[Chart, ...] = ()
    test: str = ""
    run: str = ""
    expected: bool = False
    reproduce: str = ""
    confidence: float | None = None
    fallen: tuple[tuple[str, float], ...] = ()


def to_builtin(value: Any) -> Any:
    """Records and tuples as dicts and lists of exact builtins, ready for JSON."""
    if dataclasses.is_dataclass(value):
        return {f.name: to_builtin(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [to_builtin(item) for item in value]
    return value


def from_builtin(kind: type[_R], value: dict[str, Any]) -> _R:
    """The record of this type that `to_builtin` turned into `value`; unknown fields raise TypeError."""
    hints = _hints(typing.cast(Hashable, kind))
    return kind(**{name: _restored(hints.get(name), item) for name, item in value.items()})


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _restored(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is types.UnionType:
        return _restored(next(option for option in arguments if option is not type(None)), value)
    if isinstance(value, list):
        homogeneous = len(arguments) == 2 and arguments[1] is ...
        hints = arguments[:1] * len(value) if homogeneous else arguments
        return tuple(_restored(inner, item) for inner, item in zip(hints, value, strict=True))
    if isinstance(value, dict):
        return from_builtin(hint, value)
    return float(value) if hint is float else value
