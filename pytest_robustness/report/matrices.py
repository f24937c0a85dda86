"""Modify and mimic in the report: every matrix once, with all that is drawn and said of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_robustness.explained import Picture
from pytest_robustness.matrices import TargetedMatrix, illustrating
from pytest_robustness.rates import Rate
from pytest_robustness.records import Matrix, Verdict
from pytest_robustness.report.heat_map import HeatMap, group_of, heat_map
from pytest_robustness.report.labels import count
from pytest_robustness.report.rates import Histogram, Scatter, histogram, scatter
from pytest_robustness.results import Results

__all__ = ["Matrices", "Ranking", "beside", "matrices"]

_PER_RANKING = 5


@dataclass(frozen=True)
class Ranking:
    """The classes at one end of a list, with pictures of a success: before and after, (image, target) in words."""

    title: str
    rates: tuple[Rate, ...]
    example: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Matrices:
    """One matrix with all that is drawn of it, and the gates that judged it. `note` says why there is no heat map."""

    record: Matrix
    numbers: TargetedMatrix
    claims: tuple[str, ...]
    said: tuple[str, ...]
    histograms: tuple[Histogram, ...]
    scatter: Scatter | None
    heat_map: HeatMap | None
    note: str
    rankings: tuple[Ranking, ...]

    @property
    def order(self) -> tuple[str, ...]:
        """The classes, the easiest to modify first and those that were not attacked last."""
        attacked = [rate.name for rate in self.numbers.easiest_to_modify]
        return (*attacked, *(name for name in self.record.classes if name not in self.numbers.modify_rates))

    @property
    def group_of(self) -> Mapping[str, str]:
        """The first group of each class that has one."""
        return group_of(self.record)


def matrices(results: Results) -> tuple[Matrices, ...]:
    """Every matrix of the results once, however many gates judged it, in the order of the verdicts."""
    claims: dict[Matrix, list[str]] = {}
    pictures: dict[Matrix, list[Picture]] = {}
    for verdict in results.verdicts:
        for matrix in verdict.matrices:
            claims.setdefault(matrix, []).append(verdict.claim)
            pictures.setdefault(matrix, []).extend(verdict.pictures)
    return tuple(_view(matrix, tuple(dict.fromkeys(named)), pictures[matrix]) for matrix, named in claims.items())


def beside(verdict: Verdict) -> tuple[Picture, ...]:
    """The pictures of a verdict that are of no example of its matrices; they come in pairs, before and after."""
    if not verdict.matrices:
        return verdict.pictures
    examples = {(pair.image, pair.caption) for matrix in verdict.matrices for pair in matrix.examples}
    pairs = zip(verdict.pictures[::2], verdict.pictures[1::2], strict=True)
    return tuple(picture for pair in pairs if (pair[1].image, pair[1].caption) not in examples for picture in pair)


def _view(matrix: Matrix, claims: tuple[str, ...], pictures: Sequence[Picture]) -> Matrices:
    numbers = TargetedMatrix(matrix)
    if not numbers.pairs:
        return Matrices(matrix, numbers, claims, ("No image was attacked.",), (), None, None, "", ())
    drawn, note = heat_map(numbers)
    return Matrices(
        record=matrix,
        numbers=numbers,
        claims=claims,
        said=tuple(_said(numbers)),
        histograms=(histogram("modify", numbers.modify_rates), histogram("mimic", numbers.mimic_rates)),
        scatter=scatter(numbers),
        heat_map=drawn,
        note=note,
        rankings=tuple(_rankings(numbers, pictures)),
    )


def _said(numbers: TargetedMatrix) -> Iterator[str]:
    record, pairs = numbers.record, numbers.pairs
    whom = f"{count(len(numbers.modify_rates))} classes towards {count(len(numbers.mimic_rates))}"
    yield f"{count(numbers.overall.successes)} of {count(pairs)} attempts to make an image pass as another class succeeded, of {whom}."
    if record.choice == "drawn":
        yield (
            f"The targets are a balanced sample, {record.targets} for each image: rates and their intervals are those of the sample."
        )
    if numbers.excluded:
        yield f"Images that were wrong when clean are left out: {count(numbers.excluded)}."
    if pairs < record.planned:
        yield f"Of {count(record.planned)} planned pairs of an image and a target {count(pairs)} were tried."
    yield f"Cost of a pair: {record.queries / pairs:.1f} queries, {record.gradients / pairs:.1f} gradients."


def _rankings(numbers: TargetedMatrix, pictures: Sequence[Picture]) -> Iterator[Ranking]:
    lists = {
        "hardest to modify": numbers.hardest_to_modify,
        "easiest to modify": numbers.easiest_to_modify,
        "hardest to mimic": numbers.hardest_to_mimic,
        "easiest to mimic": numbers.easiest_to_mimic,
    }
    found = {(picture.image, picture.caption): picture for picture in pictures}
    pictured = tuple(pair for pair in numbers.record.examples if (pair.image, pair.caption) in found)
    shown = illustrating(replace(numbers.record, examples=pictured))
    for title, rates in lists.items():
        pair, example = shown.get(title), ""
        own: tuple[Picture, ...] = ()
        if pair is not None:
            own = (found[pair.image, "clean"], found[pair.image, pair.caption])
            example = f"{pair.true} as {pair.target}"
        yield Ranking(title, rates[:_PER_RANKING], example, own)
