"""What became of the images from one release to the next, as plain numbers; how much worse they may be, and where those before are."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pytest_robustness.errors import InputError

__all__ = ["FOLDER", "Allowed", "Change", "Comparison", "baseline_file"]

FOLDER = "robustness-baselines"
"""Where baselines that go by a name are, below the project's root."""


@dataclass(frozen=True)
class Allowed:
    """By how much a release may be worse: an accuracy, as a share below 1, and a mean breaking point, in the unit of its stress.

    None stands for any drop.
    """

    accuracy: float | None = None
    breaking_point: float | None = None

    @classmethod
    def parse(cls, text: str) -> "Allowed":
        """`accuracy:1%,breaking_point:0.05`: an accuracy in percent points or as a share. InputError for anything else."""
        found: dict[str, float] = {}
        for part in text.split(","):
            match = re.fullmatch(r"(accuracy|breaking_point):([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(%?)", part.strip())
            if match is None or match[1] in found or (match[3] and match[1] == "breaking_point"):
                raise InputError(f"expected drops such as accuracy:1%,breaking_point:0.05, each once, got {text!r}")
            found[match[1]] = float(match[2]) / (100 if match[3] else 1)
        if found.get("accuracy", 0.0) >= 1:
            raise InputError(
                f"expected a drop of the accuracy below 1, got {found['accuracy']:g}; write accuracy:1% for a hundredth"
            )
        return cls(**found)


@dataclass(frozen=True)
class Change:
    """What became of the images of one test under one case from one release to the next.

    Of an accuracy, `before` and `after` are the shares that are right; of a breaking point, the mean strengths until which the
    images hold. `lost` are images that were right and are wrong, or hold less long, `gained` those the other way round, of the
    `n` that both releases were asked about; `p` is the exact McNemar p-value of the two. `allowed` is the drop that is not
    held against the release, None where any is; `worse` that it dropped by more.
    """

    test: str
    kind: Literal["accuracy", "breaking_point"]
    case: str
    unit: str
    before: float
    after: float
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    n: int
    p: float
    allowed: float | None = None
    worse: bool = False

    @property
    def drop(self) -> float:
        """By how much it is worse; below 0 where it is better."""
        return self.before - self.after


@dataclass(frozen=True)
class Comparison:
    """A release beside the one before: what both were asked, and what only one of them was.

    `against` names the other results, and `model` the model and its digest that they are of. `notes` say in what else the two
    differ that need not matter, as in the version of a library.
    """

    against: str
    model: str
    changes: tuple[Change, ...]
    only_before: tuple[str, ...] = ()
    only_after: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def worse(self) -> tuple[Change, ...]:
        """The changes that are worse than is allowed."""
        return tuple(change for change in self.changes if change.worse)


def baseline_file(text: str, *, root: Path, here: Path) -> Path:
    """The file of a baseline: of a name, as `release`, that in the folder of baselines below `root`; else the path, from `here`."""
    name = not Path(text).suffix and not {"/", "\\"} & set(text)
    return root / FOLDER / f"{text}.json" if name else here / text
