"""What an explanation said, for reports: pictures with what can be laid over them, and a few numbers.

Plain numbers and pictures, without torch. Probabilities are in [0, 1].
"""

import dataclasses
from dataclasses import dataclass, field

__all__ = ["Explained", "Panel", "Picture", "Side"]


@dataclass(frozen=True)
class Panel:
    """A further picture beside one: a caption, a PNG, and a PNG with an alpha channel to lay over it, as data URIs.

    `note` says how far it may be believed; each text is empty where there is nothing to say or show.
    """

    caption: str
    png: str = field(default="", repr=False)
    overlay: str = field(default="", repr=False)
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """An image as the model saw it, for a report: its id, a caption, a PNG as a data URI, and the model's top-5.

    The `panels` say why the model said so.
    """

    image: str
    caption: str
    png: str
    top: tuple[tuple[str, float], ...]
    panels: tuple[Panel, ...] = ()


@dataclass(frozen=True)
class Side:
    """An explanation of one class of one image, clean or stressed.

    `label` is the class that is explained, with its `probability`. `parts` are superpixels by their numbers: those of an anchor, or
    those that speak most for the class; empty where the method has none. `top_at` is the pixel (x, y) from the upper left that
    the explanation points at, None where it must not be believed.
    """

    caption: str
    label: str
    probability: float
    note: str
    believable: bool
    parts: tuple[int, ...] = ()
    top_at: tuple[int, int] | None = None
    picture: Panel | None = None


@dataclass(frozen=True)
class Explained:
    """One image, and the image under a stress, explained by one method, with the same superpixels where it has them.

    `case` names the stress; without one there is one side. `overlap` is how much of the top fifth of the two explanations is
    common, as intersection over union, None without a second side and where one must not be believed.
    """

    image: str
    case: str
    method: str
    sides: tuple[Side, ...]
    overlap: float | None = None

    @property
    def lost(self) -> tuple[int, ...]:
        """The superpixels of the first side that the second has not."""
        return self._without(self.sides[0], self.sides[-1])

    @property
    def gained(self) -> tuple[int, ...]:
        """The superpixels of the second side that the first has not."""
        return self._without(self.sides[-1], self.sides[0])

    def _without(self, side: Side, other: Side) -> tuple[int, ...]:
        """What one has and the other has not; nothing where one of them must not be believed."""
        if not all(own.believable for own in self.sides):
            return ()
        return tuple(part for part in side.parts if part not in other.parts)

    def __repr__(self) -> str:
        said = ", ".join(f"{side.caption} {side.label} {side.probability:.2f}" for side in self.sides)
        return f"{self.image} by {self.method}: {said}"

    def __str__(self) -> str:
        """A line per side, and what changed."""
        lines = [f"{self.image}" + (f" under {self.case}" if self.case else "") + f", by {self.method}"]
        for side in self.sides:
            rests = f", on superpixels {_listed(side.parts)}" if side.parts else ""
            at = "" if side.top_at is None or side.parts else f", most at ({side.top_at[0]}, {side.top_at[1]})"
            lines.append(f"{side.caption}: {side.label} {side.probability:.2f}{rests}{at}")
            if side.note:
                lines.append(f"  {side.note}" + ("" if side.believable else "; not to be believed"))
        if self.lost or self.gained:
            lines.append(f"lost: superpixels {_listed(self.lost)}; gained: {_listed(self.gained)}")
        if self.overlap is not None:
            lines.append(f"common to the top fifth of both: {self.overlap:.2f} (intersection over union)")
        return "\n".join(lines)

    def without_pictures(self) -> "Explained":
        """The words and numbers alone."""
        return dataclasses.replace(self, sides=tuple(dataclasses.replace(side, picture=None) for side in self.sides))


def _listed(parts: tuple[int, ...]) -> str:
    return ", ".join(map(str, parts)) or "none"
