"""One attack on one image as it is altered: what the model makes of it on the way.

Plain numbers and pictures, without torch. Probabilities are in [0, 1], distances in the attack's norm on the [0, 1] pixel scale.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Ending", "Frame", "Trace"]

Ending = Literal["reached", "held", "wrong when clean"]


@dataclass(frozen=True)
class Frame:
    """The image at one step of the attack.

    `subject` is the probability of the accepted classes together and `target` that of the class the attack goes for;
    `distance` is the length of the change so far. `png` is the picture and `overlay` what can be laid over it, both PNGs as
    data URIs; each is empty where there is none.
    """

    step: int
    subject: float
    target: float
    distance: float
    png: str = field(default="", repr=False)
    overlay: str = field(default="", repr=False)


@dataclass(frozen=True)
class Trace:
    """One image under one attack, from the image itself, step 0, to what the engine verified, the last frame.

    `case` names the attack and its epsilon. `target` is the class that was given (`aimed`); without one it is the class that the
    attack ended in or, where it did not succeed, the strongest of those that are not accepted. `answer` is what the model says at
    the end, with its probability. An image that was "wrong when clean" was not attacked, and has one frame.
    """

    image: str
    case: str
    norm: str
    accepted: tuple[str, ...]
    target: str
    aimed: bool
    ending: Ending
    answer: str
    frames: tuple[Frame, ...]

    @property
    def last(self) -> Frame:
        """The image that the engine verified."""
        return self.frames[-1]

    @property
    def said(self) -> str:
        """How it ended, in a sentence."""
        under = f"{self.image} under {self.case}"
        if self.ending == "wrong when clean":
            return f"{under}: not attacked, as it is wrong when clean ({self.answer})"
        verb = "becomes" if self.ending == "reached" else "remains"
        aim = f" towards {self.target}" if self.aimed else ""
        return f"{under}{aim}: {verb} {self.answer} after {_steps(self.last.step)}"

    def __repr__(self) -> str:
        return self.said

    def __str__(self) -> str:
        return self.table()

    def table(self) -> str:
        """A row per frame, and the classes and how it ended below."""
        heads = ["step", "accepted", "target", "distance"]
        rows = [
            [str(frame.step), f"{frame.subject:.3f}", f"{frame.target:.3f}", self.distance_text(frame)]
            for frame in self.frames
        ]
        widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in [heads, *rows]
        ]
        found = "" if self.aimed or self.ending == "reached" else ", the strongest of the others at the end"
        return "\n".join(
            [*lines, f"accepted: {' or '.join(self.accepted)}", f"target: {self.target}{found}", self.said]
        )

    def without_pictures(self) -> "Trace":
        """The numbers alone."""
        return dataclasses.replace(
            self, frames=tuple(dataclasses.replace(frame, png="", overlay="") for frame in self.frames)
        )

    def distance_text(self, frame: Frame) -> str:
        """The length of the change at a frame: in Linf in levels of 8-bit pixels, `1.96/255`."""
        return f"{255 * frame.distance:.3g}/255" if self.norm == "linf" else f"{frame.distance:.3g}"


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"
