"""Accuracy against strength: of one model, or of several side by side on the same images."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pytest_robustness.charts import Chart, Line
from pytest_robustness.errors import InputError
from pytest_robustness.measurements import Accuracy
from pytest_robustness.records import Evaluation, strength_text
from pytest_robustness.stats import mcnemar, proportion_interval

__all__ = ["AccuracyCurve", "AccuracyCurves", "Comparison"]

_WIDTH = 80


@dataclass(frozen=True)
class AccuracyCurve:
    """The accuracy of one model under one stress at ascending strengths, an evaluation for each."""

    model: str
    evaluations: tuple[Evaluation, ...]

    def __len__(self) -> int:
        return len(self.evaluations)

    def __iter__(self) -> Iterator[Accuracy]:
        return map(Accuracy, self.evaluations)

    @property
    def points(self) -> dict[float, Accuracy]:
        """The accuracy at each strength; `assert_curve_above` takes them as what another model has to reach."""
        return {own.case.strength: Accuracy(own) for own in self.evaluations}

    def at(self, strength: float) -> Evaluation:
        """The evaluation at this strength; InputError where it was not asked for."""
        for own in self.evaluations:
            if own.case.strength == strength:
                return own
        known = ", ".join(strength_text(own.case.unit, own.case.strength) for own in self.evaluations)
        raise InputError(f"expected a strength of the curve, one of {known}, got {strength!r}; measure it too")

    @property
    def chart(self) -> Chart:
        """The accuracy against the strength, with its exact 95 % interval."""
        return AccuracyCurves((self,)).chart

    def __repr__(self) -> str:
        return repr(AccuracyCurves((self,)))

    def __str__(self) -> str:
        return str(AccuracyCurves((self,)))


@dataclass(frozen=True)
class Comparison:
    """Two models image by image, on the same images: which of them holds where the other does not.

    `more` counts the images that `model` holds and `against` loses, `fewer` those the other way round; images that both hold or both
    lose say nothing. Of several strengths together, `at` being empty, they count the images that `model` holds at more
    strengths, and at fewer.
    """

    model: str
    against: str
    at: str
    more: int
    fewer: int

    @property
    def p(self) -> float:
        """The probability of a difference as large as this, or larger, between models that hold as well: `stats.mcnemar`."""
        return mcnemar(self.more, self.fewer)

    def __repr__(self) -> str:
        n = f"{self.more} image{'' if self.more == 1 else 's'}"
        told = (
            f"holds {n} at {self.at} that {self.against} loses, loses {self.fewer}"
            if self.at
            else f"holds {n} at more strengths than {self.against}, {self.fewer} at fewer"
        )
        return f"{self.model} {told}: p = {self.p:.2g} (exact McNemar)"


@dataclass(frozen=True)
class AccuracyCurves:
    """The curves of several models, or of one: the same images under the same stress at the same strengths.

    Those after the first are compared with it, image by image.
    """

    curves: tuple[AccuracyCurve, ...]

    def __len__(self) -> int:
        return len(self.curves)

    def __iter__(self) -> Iterator[AccuracyCurve]:
        return iter(self.curves)

    def __getitem__(self, model: str) -> AccuracyCurve:
        """The curve of the model of this name."""
        for curve in self.curves:
            if curve.model == model:
                return curve
        known = " or ".join(curve.model for curve in self.curves)
        raise InputError(f"expected the name of a model, {known}, got {model!r}")

    def compared(self, model: str, *, strength: float | None = None) -> Comparison:
        """This model beside the first one, at one strength, or at all of them together.

        All together is what the table tells: of a p-value for each strength, one would soon be small by chance. Raises
        InputError for a model or a strength that was not measured.
        """
        own, other = self[model], self.curves[0]
        wanted = [point.case.strength for point in own.evaluations] if strength is None else [strength]
        ours, theirs = (_held([curve.at(one) for one in wanted]) for curve in (own, other))
        return Comparison(
            model=own.model,
            against=other.model,
            at="" if strength is None else own.at(strength).case.at,
            more=sum(a > b for a, b in zip(ours, theirs, strict=True)),
            fewer=sum(a < b for a, b in zip(ours, theirs, strict=True)),
        )

    @property
    def chart(self) -> Chart:
        """A line per model: the accuracy against the strength, with its exact 95 % interval."""
        case = self.curves[0].evaluations[0].case
        return Chart(
            title=f"accuracy under {case.under}",
            x=case.unit,
            y="share of images that are right",
            lines=tuple(_line(curve) for curve in self),
        )

    def __repr__(self) -> str:
        first, last = (self.curves[0].evaluations[place] for place in (0, -1))
        at = f"at {first.case.at}" if first is last else f"from {first.case.at} to {_strength(last)}"
        told = ", ".join(f"{curve.model} {_ends(curve)}" for curve in self)
        return f"accuracy under {first.case.stress} {at}, {len(first.outcomes)} images: {told}"

    def __str__(self) -> str:
        """A row per strength and a column per model, as detailed as 80 columns allow, then each other model beside the first."""
        tables = [self._table(cell) for cell in (_with_interval, _with_counts, _share)]
        table = next((lines for lines in tables if max(map(len, lines)) <= _WIDTH), tables[-1])
        told = ["in brackets: right answers of all images, 95 % interval"] * (table is tables[0])
        return "\n".join([*table, *told, *(repr(self.compared(curve.model)) for curve in self.curves[1:]), repr(self)])

    def _table(self, cell: Callable[[Evaluation], str]) -> list[str]:
        levels = self.curves[0].evaluations
        columns = [[levels[0].case.unit, *map(_strength, levels)]]
        columns += [[curve.model, *map(cell, curve.evaluations)] for curve in self]
        widths = [max(map(len, column)) for column in columns]
        rows = zip(*columns, strict=True)
        return ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in rows]


def _held(evaluations: Sequence[Evaluation]) -> list[int]:
    """At how many of these each image is right."""
    return [sum(outcome.correct for outcome in row) for row in zip(*(own.outcomes for own in evaluations), strict=True)]


def _line(curve: AccuracyCurve) -> Line:
    return Line(
        name=curve.model,
        points=tuple((own.case.strength, float(Accuracy(own))) for own in curve.evaluations),
        band=tuple(proportion_interval(own.correct, len(own.outcomes)) for own in curve.evaluations),
    )


def _strength(evaluation: Evaluation) -> str:
    return strength_text(evaluation.case.unit, evaluation.case.strength)


def _ends(curve: AccuracyCurve) -> str:
    return " to ".join(f"{Accuracy(own):.4g}" for own in dict.fromkeys((curve.evaluations[0], curve.evaluations[-1])))


def _share(evaluation: Evaluation) -> str:
    return f"{Accuracy(evaluation):.3f}"


def _with_counts(evaluation: Evaluation) -> str:
    return f"{_share(evaluation)} ({evaluation.correct}/{len(evaluation.outcomes)})"


def _with_interval(evaluation: Evaluation) -> str:
    k, n = evaluation.correct, len(evaluation.outcomes)
    lower, upper = proportion_interval(k, n)
    return f"{_share(evaluation)} ({k}/{n}, {lower:.3f} to {upper:.3f})"
