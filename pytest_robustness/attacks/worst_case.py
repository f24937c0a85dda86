"""The worst of several attacks: each goes for the images that the ones before it left standing.

Images are float32 RGB in [0, 1], (n, c, h, w); epsilon is the radius of the ball, in the same units, one per image.
"""

import functools
from dataclasses import dataclass
from typing import ClassVar

import torch

from pytest_robustness.attacks.accounting import attacked
from pytest_robustness.attacks.apgd import APGD
from pytest_robustness.attacks.foreign import foreign
from pytest_robustness.attacks.problem import Problem, by_row
from pytest_robustness.attacks.settings import limit
from pytest_robustness.attacks.square import Square
from pytest_robustness.errors import InputError
from pytest_robustness.seeding import Streams
from pytest_robustness.types import (
    Attack,
    Attacked,
    Borrowed,
    Classifier,
    Goal,
    Images,
    LooksFirst,
    Norm,
    Strengths,
    fits,
)

__all__ = ["WorstCase", "autoattack_like"]


@dataclass(frozen=True, init=False, repr=False)
class WorstCase:
    """`attacks` of one norm, one after the other, each at the images that still hold (Croce and Hein 2020, section 5).

    An image fares under each of them as it would under that one alone, with the same random numbers; so it holds where it holds
    under all of them. Which one broke it is in its outcome (`found_by`). Of an image that holds, what came closest to the
    goal, by the margin of the logits, is returned.

    Raises InputError for less than one attack, the same one twice, and attacks of different norms.
    """

    attacks: tuple[Attack, ...]

    unit: ClassVar[str] = "epsilon"

    def __init__(self, *attacks: Attack) -> None:
        object.__setattr__(self, "attacks", attacks)
        self.__post_init__()

    def __post_init__(self) -> None:
        if not self.attacks:
            raise InputError(
                "WorstCase(): expected at least one attack, got none; name some, as in WorstCase(APGD(), Square())"
            )
        for attack in self.attacks:
            if isinstance(attack, type) or not isinstance(attack, Attack):
                raise InputError(
                    f"WorstCase: expected attacks such as APGD(), got {attack!r}; a library's attack goes into foreign(...) first"
                )
        named = [repr(attack) for attack in self.attacks]
        if len(set(named)) < len(named):
            twice = next(name for name in named if named.count(name) > 1)
            raise InputError(f"{self!r}: expected different attacks, got {twice} twice; leave one out")
        if len({attack.norm for attack in self.attacks}) > 1:
            norms = ", ".join(f"{attack!r} {attack.norm}" for attack in self.attacks)
            raise InputError(f"{self!r}: expected attacks of one norm, as there is one ball, got {norms}")

    def __repr__(self) -> str:
        return f"WorstCase({', '.join(map(repr, self.attacks))})"

    @property
    def norm(self) -> Norm:
        return self.attacks[0].norm

    @property
    def limit(self) -> float:
        return limit(self.norm)

    @property
    def looks_first(self) -> bool:
        first = self.attacks[0]
        return isinstance(first, LooksFirst) and first.looks_first

    @property
    def library(self) -> str:
        """Those of the attacks that are another library's, with their versions."""
        return ", ".join(dict.fromkeys(own.library for own in self.attacks if fits(own, Borrowed) and own.library))  # type: ignore[attr-defined]

    def against(
        self, classifier: Classifier, goal: Goal, images: Images, strengths: Strengths, streams: Streams
    ) -> Images:
        return self.attacked(classifier, goal, images, strengths, streams).images

    def attacked(
        self, classifier: Classifier, goal: Goal, images: Images, strengths: Strengths, streams: Streams
    ) -> Attacked:
        problem = Problem(classifier, goal, images, strengths, streams, self.norm)
        rows, found = problem.rows(), images
        values = strengths.new_full((len(images),), -torch.inf)
        queries, gradients = torch.zeros(2, len(images), dtype=torch.long, device=images.device)
        silent, found_by = queries.bool(), [""] * len(images)
        for attack in self.attacks:
            some = problem.select(rows)
            # As the engine names the streams of this attack alone.
            own = attacked(
                attack, some.classifier, some.goal, some.images, some.epsilons, some.streams.of(repr(attack))
            )
            inside = some.inside(own.images)
            logits = some.logits(inside)
            reached, margins = some.goal.reached(logits), some.goal.objective(logits, "margin")
            margins = margins.masked_fill(reached, torch.inf)
            closer = margins > values[rows]
            found = found.index_copy(0, rows, by_row(closer, inside, found[rows]))
            values[rows] = torch.maximum(margins, values[rows])
            queries[rows] += own.queries + 1
            gradients[rows] += own.gradients
            silent[rows] = own.silent & reached
            for place, row in enumerate(rows.tolist()):
                if reached[place]:
                    found_by[row] = own.found_by[place] or repr(attack)
            rows = rows[~reached]
            if not len(rows):
                break
        return Attacked(found, queries, gradients, silent, tuple(found_by))


def autoattack_like(norm: Norm = "linf", *, queries: int = 5000, fab: bool = False, classes: int = 10) -> WorstCase:
    """The attacks of AutoAttack's standard version (Croce and Hein 2020): APGD-CE, APGD-T, FAB-T and Square, with its settings.

    FAB-T is torchattacks' and left out unless it is asked for with `fab`, which needs that library: over the years it
    has broken few images that the others had not. APGD-T and FAB-T go for the nine likeliest other classes, or for all of
    them where a model has fewer `classes` than ten. `queries` are Square's.

    Raises InputError for fewer than two classes, and where torchattacks is asked for and not installed.
    """
    targets = min(classes, 10) - 1
    if isinstance(classes, bool) or not isinstance(classes, int) or targets < 1:
        raise InputError(f"autoattack_like: expected classes to be a whole number >= 2, got {classes!r}")
    attacks: list[Attack] = [
        APGD(norm=norm, random_start=True),
        APGD(norm=norm, loss="dlr", targets=targets, random_start=True),
    ]
    if fab:
        attacks.append(_fab_t(norm, targets))
    return WorstCase(*attacks, Square(queries, norm=norm))


def _fab_t(norm: Norm, targets: int) -> Attack:
    try:
        import torchattacks
    except ImportError:
        raise InputError(
            "autoattack_like(fab=True): expected torchattacks, whose FAB this is, to be installed, found it missing; "
            "pip install torchattacks, or leave fab out"
        ) from None
    settings = {
        "norm": "Linf" if norm == "linf" else "L2",
        "steps": 100,
        "multi_targeted": True,
        "n_classes": targets + 1,
    }
    return foreign(functools.partial(torchattacks.FAB, **settings), norm)
