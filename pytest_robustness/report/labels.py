"""What drawings of the report are made of: marks, labels, and names and numbers in few words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["LETTER", "NAMED", "Label", "Tick", "classes", "count", "listed", "more", "short"]

NAMED = 8
"""So many names of a list are written out."""
LETTER = 0.58
"""Of the width of the letters of a system font at 1 pixel; a little too much, so that labels keep apart."""
_LONGEST = 22


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, and what it says."""

    at: float
    text: str


@dataclass(frozen=True)
class Label:
    """A text with its left (`start`), middle or right (`end`) at a point of its baseline; `full` where it is cut short."""

    x: float
    y: float
    anchor: Literal["start", "middle", "end"]
    text: str
    full: str = ""


def listed(names: Sequence[str]) -> str:
    """The first of these names, and how many more there are."""
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def more(count: int) -> str:
    """That a name stands for several."""
    return f" +{count - 1}" if count > 1 else ""


def short(name: str) -> str:
    """A name cut to a length that a drawing has room for."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def classes(number: int) -> str:
    """So many classes, in words."""
    return "1 class" if number == 1 else f"{count(number)} classes"


def count(number: int) -> str:
    """A number with its thousands apart."""
    return f"{number:,}"
