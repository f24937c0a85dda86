"""Attacks of other libraries, and functions, as stresses: run against a model that records what they ask, and not believed.

Images are float32 RGB in [0, 1], (n, c, h, w); epsilon is the radius of the ball, in the same units, one per image.
"""

import copy
import functools
import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, ClassVar

import torch

from pytest_robustness.attacks.families import FAMILIES, Family, Task, family_of, norm_of
from pytest_robustness.attacks.goals import Mimic, Miss
from pytest_robustness.attacks.naming import identity, words
from pytest_robustness.attacks.problem import Problem, by_row
from pytest_robustness.attacks.recording import Recorder, isolated, seed_of
from pytest_robustness.attacks.settings import check_norm, limit
from pytest_robustness.errors import InputError
from pytest_robustness.norms import project
from pytest_robustness.running import out_of_memory
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Attacked, BatchClassifier, Classifier, Goal, Images, Norm, Strengths

__all__ = ["Foreign", "foreign"]


@dataclass(frozen=True, repr=False)
class Foreign:
    """An attack of another library as a stress; `foreign` makes it.

    It is given the images of one strength that are not at the goal yet, at most as many as the classifier takes at a
    time, with the model's own answers as labels (for a `Miss`) or with the targets (for a `Mimic`). It knows no other
    accepted classes. What it returns is brought back into the ball and into [0, 1]; where that misses the goal, the
    best that it had shown to the model there counts instead: see `Recorder`.

    Global generators are started for each of its batches by the seed and the images' ids, and put back afterwards: a
    run is reproducible, but a random attack may fare otherwise in other company.

    Two are equal where the attacks are alike by value: the same settings of the same class, the same code.

    Raises InputError where it fails (in one sentence, with what was raised), returns other than images of that shape, or
    can't be given that goal. Out of memory passes through.
    """

    attack: Any = field(compare=False)
    norm: Norm
    family: Family
    _identity: Hashable = field(init=False)

    unit: ClassVar[str] = "epsilon"
    looks_first: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_norm(self)
        if self.family not in FAMILIES:
            raise InputError(
                f"{self!r}: expected family 'foolbox', 'torchattacks', 'art' or 'function', got {self.family!r}"
            )
        kind = FAMILIES[self.family]
        kind.check(self)
        if kind.settings:
            # Someone may change them later; those of this stress are to stay.
            object.__setattr__(self, "attack", copy.deepcopy(self.attack))
        object.__setattr__(self, "_identity", identity(self.attack, kind.settings))

    def __repr__(self) -> str:
        family = family_of(self.attack)
        said = [words(self.attack, "foolbox")]
        if family != "foolbox" or norm_of(self.attack) != self.norm:
            said.append(repr(self.norm))
        if family != self.family:
            said.append(f"family={self.family!r}")
        return f"foreign({', '.join(said)})"

    @property
    def limit(self) -> float:
        return limit(self.norm)

    @property
    def library(self) -> str:
        """The library that the attack is of, with its version; empty for a function."""
        return _with_version(FAMILIES[self.family].distribution)

    def against(
        self, classifier: Classifier, goal: Goal, images: Images, strengths: Strengths, streams: Streams
    ) -> Images:
        return self.attacked(classifier, goal, images, strengths, streams).images

    def attacked(
        self, classifier: Classifier, goal: Goal, images: Images, strengths: Strengths, streams: Streams
    ) -> Attacked:
        """What `against` returns, with what was asked for it."""
        if not isinstance(goal, (Miss, Mimic)):
            raise InputError(
                f"{self!r}: expected the goal Miss or Mimic, which other libraries know too, got {type(goal).__name__}; behind a "
                "defense use an attack of this package, or Oblivious(...) of this one"
            )
        problem = Problem(classifier, goal, images, strengths, streams, self.norm)
        found = images.clone()
        queries, gradients = torch.zeros(2, len(images), dtype=torch.long, device=images.device)
        silent = queries.bool()
        for rows, answers, classes in self._parts(problem):
            some = problem.select(rows)
            model = Recorder(some)
            found[rows], silent[rows] = self._found(some, model, answers, classes)
            queries[rows], gradients[rows] = model.queries, model.gradients
        return Attacked(found, queries, gradients, silent, ("",) * len(images))

    def _parts(self, problem: Problem) -> list[tuple[torch.Tensor, torch.Tensor, int]]:
        """The rows of the images that are attacked together, with the model's answers to them, and how many classes it has."""
        rows = (problem.epsilons > 0).nonzero().squeeze(1)
        if not len(rows):
            return []
        some = problem.select(rows)
        logits = some.logits(some.images)
        holding = ~some.goal.reached(logits)
        rows, answers = rows[holding], logits[holding].argmax(1)
        parts = []
        for epsilon in sorted(set(problem.epsilons[rows].tolist())):
            alike = (problem.epsilons[rows] == epsilon).nonzero().squeeze(1)
            most = problem.classifier.at_a_time if isinstance(problem.classifier, BatchClassifier) else len(alike)
            for part in alike.chunk(math.ceil(len(alike) / most)):
                parts.append((rows[part], answers[part], logits.shape[1]))
        return parts

    def _found(
        self, problem: Problem, model: Recorder, answers: torch.Tensor, classes: int
    ) -> tuple[Images, torch.Tensor]:
        """What the attack finds for images of one strength, none at the goal, and where it did not tell of its success."""
        returned = _inside(problem, self._returned(problem, model, answers, classes))
        best = _inside(problem, model.best)
        logits = problem.logits(returned)
        missed = ~problem.goal.reached(logits)
        rows = (missed & model.reached).nonzero().squeeze(1)
        # What was a success up to rounding may be none.
        silent = torch.zeros_like(missed).index_copy(0, rows, problem.select(rows).reached(best[rows]))
        nearer = missed & ~model.reached & (model.values > problem.goal.objective(logits))
        return by_row(silent | nearer, best, returned), silent

    def _returned(self, problem: Problem, model: Recorder, answers: torch.Tensor, classes: int) -> Images:
        """What the foreign code makes of copies of the images."""
        goal, images, epsilon = problem.goal, problem.images, problem.epsilons[0].item()
        targeted = isinstance(goal, Mimic)
        labels = goal.targets if isinstance(goal, Mimic) else answers
        # Copies, as foreign code may write to what it is given.
        task = Task(model, images.clone(), labels.clone(), targeted, epsilon, classes)
        try:
            with isolated(seed_of(problem.streams)):
                found = FAMILIES[self.family].run(self, task)
        except InputError:
            raise
        except Exception as error:
            if out_of_memory(error):
                raise
            said = (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")
            raise InputError(
                f"{self!r}: the {FAMILIES[self.family].noun} raised {type(error).__name__} on images of shape {tuple(images.shape)} at "
                f"epsilon {epsilon:g}: {said}; check its settings, and that the model has a gradient where it needs one"
            ) from error
        return self._checked(found, images)

    def _checked(self, found: object, images: Images) -> Images:
        if not isinstance(found, torch.Tensor) or found.shape != images.shape or not found.is_floating_point():
            got = type(found).__name__
            if isinstance(found, torch.Tensor):
                got = f"{str(found.dtype).removeprefix('torch.')} of shape {tuple(found.shape)}"
            raise InputError(
                f"{self!r}: expected the {FAMILIES[self.family].noun} to return a float tensor of shape {tuple(images.shape)}, got {got}; "
                "return the attacked images, one for each that is given"
            )
        found = found.detach().to(images)
        if not found.isfinite().all():
            raise InputError(
                f"{self!r}: expected finite pixels from the {FAMILIES[self.family].noun}, got NaN or infinity; check its settings"
            )
        return found


def foreign(attack: Any, norm: Norm | None = None, *, family: Family | None = None) -> Foreign:
    """An attack of another library as a stress of ours, in the ball of this norm.

    - foolbox: an instance, such as `foolbox.attacks.LinfPGD()`; the norm is that of its distance, where it has one;
    - torchattacks: what makes an attack of a model and an epsilon: a class, a `functools.partial` of one or, with
      `family="torchattacks"`, a function such as `lambda model, eps: torchattacks.PGD(model, eps=eps, alpha=eps / 4)`;
    - ART: what makes an evasion attack of one of ART's classifiers and an epsilon; a function needs `family="art"`;
    - any function of `(model, images, labels)` that returns attacked images; `model` is an nn.Module.

    Epsilon goes to the parameter `eps` or `epsilon`, in place of what a partial has for it, else to the second one of a
    function that makes attacks. What takes none is brought back into the ball.

    Raises InputError for what is none of these, and for a norm that is missing or not the attack's own.
    """
    if family is None:
        family = family_of(attack)
    if norm is None and family == "foolbox":
        norm = norm_of(attack)
    if norm is None:
        raise InputError(
            f"foreign({words(attack, 'foolbox')}): expected a norm, 'linf' or 'l2', got none; name that of the ball which the "
            "attack keeps to"
        )
    return Foreign(attack, norm, family)


@functools.cache
def _with_version(distribution: str) -> str:
    return f"{distribution} {metadata.version(distribution)}" if distribution else ""


def _inside(problem: Problem, found: Images) -> Images:
    """These images in the balls and in [0, 1]; what is there already, to the bit."""
    deltas = found - problem.images
    projected = project(deltas, problem.norm, problem.epsilons)
    return torch.where(projected == deltas, found, problem.images + projected).clamp(0, 1)
