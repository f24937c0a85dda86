"""Curves: one image at every strength that was asked for, and where on the way its answer changes."""

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_robustness.charts import Chart, Line, Mark
from pytest_robustness.errors import InputError
from pytest_robustness.records import Outcome, strength_text

__all__ = ["Curve", "Point", "intruding", "transparencies"]


@dataclass(frozen=True)
class Point:
    """An image at one strength: the outcome, and the probability of the intruder's classes together."""

    strength: float
    outcome: Outcome
    intruder: float


@dataclass(frozen=True)
class Curve:
    """One image under one stress at ascending strengths, whatever the answers.

    The subject are the accepted classes together. The `intruder` are the classes, named or found, that take its
    place; it is empty where top-1 never leaves the accepted classes and none was named.
    """

    image: str
    stress: str
    unit: str
    accepted: tuple[str, ...]
    intruder: tuple[str, ...]
    points: tuple[Point, ...]

    @property
    def leaves(self) -> float | None:
        """The first strength at which top-1 is not accepted, None where there is none."""
        return next((point.strength for point in self.points if not point.outcome.correct), None)

    @property
    def returns(self) -> float | None:
        """The first strength above `leaves` at which top-1 is accepted again: a stronger stress is not always worse."""
        left = self.leaves
        later = (p.strength for p in self.points if left is not None and p.strength > left and p.outcome.correct)
        return next(later, None)

    @property
    def takeover(self) -> float | None:
        """The first strength at which top-1 is one of the intruder's classes, None where there is none."""
        return next((point.strength for point in self.points if point.outcome.predicted in self.intruder), None)

    def drops_below(self, bound: float) -> float | None:
        """The first strength at which the subject's probability is below `bound`, in (0, 1]; None where there is none."""
        if not 0 < bound <= 1:
            raise InputError(f"expected a probability in (0, 1] to drop below, got {bound!r}")
        return next((point.strength for point in self.points if point.outcome.subject < bound), None)

    @property
    def chart(self) -> Chart:
        """The probability of the subject and of the intruder against the strength; marked is where the answer changes."""
        lines = [
            Line(
                " or ".join(self.accepted), tuple((p.strength, p.outcome.subject) for p in self.points), role="subject"
            )
        ]
        if self.intruder:
            taking = tuple((point.strength, point.intruder) for point in self.points)
            lines.append(Line(" or ".join(self.intruder), taking, role="intruder"))
        changes = (("leaves", self.leaves), ("takeover", self.takeover), ("returns", self.returns))
        return Chart(
            title=f"{self.image} under {self.stress}",
            x=self.unit,
            y="probability",
            lines=tuple(lines),
            marks=tuple(Mark(strength, text) for text, strength in changes if strength is not None),
        )

    def __repr__(self) -> str:
        parts = [f"leaves the accepted classes {self._at(self.leaves)}" if self.leaves is not None else self._stays()]
        if self.takeover is not None:
            parts.append(f"{' or '.join(self.intruder)} takes over {self._at(self.takeover)}")
        if self.returns is not None:
            parts.append(f"returns {self._at(self.returns)}")
        return f"{self.image} under {self.stress}: {', '.join(parts)}"

    def __str__(self) -> str:
        return self.table(top=1)

    def table(self, *, top: int = 5) -> str:
        """A row per strength with the `top` classes, at most 5, and the sentence of `repr` below.

        Of an alpha, the transparency 1 - alpha too.
        """
        transparent = self.unit == "alpha"
        heads = [*(["transparency"] if transparent else []), self.unit, "subject", "intruder", f"top-{top}"]
        rows = [
            [
                *([f"{100 * (1 - point.strength):.4g} %"] if transparent else []),
                strength_text(self.unit, point.strength),
                f"{point.outcome.subject:.3f}",
                f"{point.intruder:.3f}" if self.intruder else "-",
                ", ".join(f"{name} {share:.3f}" for name, share in point.outcome.top[:top]),
            ]
            for point in self.points
        ]
        widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads) - 1)]
        lines = [
            "  ".join([*(cell.rjust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
            for row in [heads, *rows]
        ]
        names = [f"subject: {' or '.join(self.accepted)}", f"intruder: {' or '.join(self.intruder) or 'none'}"]
        return "\n".join([*lines, *names, repr(self)])

    def _at(self, strength: float | None) -> str:
        assert strength is not None
        outcome = next(point.outcome for point in self.points if point.strength == strength)
        return f"at {self.unit} {strength_text(self.unit, strength)} ({outcome.answer})"

    def _stays(self) -> str:
        return f"stays in the accepted classes up to {self.unit} {strength_text(self.unit, self.points[-1].strength)}"


def transparencies(start: float, stop: float, *, step: float) -> tuple[float, ...]:
    """The alphas of these transparencies in percent, from `start` down to and including `stop`: alpha = 1 - transparency.

    `transparencies(100, 40, step=5)` is 0, 0.05, ..., 0.6. Raises InputError where they do not fall within 100 to 0.
    """
    if not (100 >= start > stop >= 0 and step > 0):
        raise InputError(
            f"expected transparencies that fall from at most 100 to at least 0 % by a step > 0, got {start!r} to {stop!r} by {step!r}"
        )
    count = int((start - stop) / step + 1e-9)
    return tuple(round(1 - (start - place * step) / 100, 10) for place in range(count + 1))


def intruding(points: Sequence[Outcome]) -> str | None:
    """The class that takes the subject's place: top-1 at the largest strength where it is not an accepted one."""
    return next((outcome.predicted for outcome in reversed(points) if not outcome.correct), None)
