"""Modify and mimic: what a matrix of targeted attacks says of each class, of each group, and of all of them.

The modify rate of a class is the share of attempts to make its images pass as another class that succeeded; its mimic rate the
share of attempts to make images of other classes pass as it. An attempt is one image with one target. Rates are in [0, 1].
"""

import collections
import functools
import itertools
import statistics
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_robustness.errors import InputError
from pytest_robustness.rates import Rate, by_rows, ends, square
from pytest_robustness.records import Case, Matrix, Pair

__all__ = ["Rate", "TargetedMatrix", "cells_text", "exemplary", "illustrating", "merged", "surest"]

# Of each end of each list: enough for a report to show, and few enough for a file of a thousand classes.
_EXAMPLES = 5
# More classes than that are told by those at both ends.
_ROWS = 24
_ENDS = 10
_WIDTH = 80


@dataclass(frozen=True, repr=False)
class TargetedMatrix:
    """A matrix of targeted attacks, and what follows from it.

    Classes without an attempt have no rate, and take no part in medians and correlation. `computed` is how many of the pairs
    were not known before, and `seconds` what it took to find them all.
    """

    record: Matrix
    computed: int = field(default=0, compare=False)
    seconds: float = field(default=0.0, compare=False)

    def attempts(self, true: str, target: str) -> int:
        """How many attempts there were from images of one class, or group, towards another; InputError for an unknown one."""
        return self._between(true, target).attempts

    def successes(self, true: str, target: str) -> int:
        """How many of the `attempts` succeeded."""
        return self._between(true, target).successes

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes that take part on either side, in the model's order."""
        return self.record.classes

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the broad groups; empty where there are none."""
        return tuple(name for name, _ in self.record.groups)

    @property
    def pairs(self) -> int:
        """How many pairs of an image and a target were tried."""
        return sum(n for row in self._cells for _, n in row.values())

    @property
    def excluded(self) -> int:
        """How many images were not attacked, because they were wrong when clean."""
        return sum(count for _, count in self.record.excluded)

    @property
    def overall(self) -> Rate:
        """All attempts together."""
        return _summed("all classes", (cell for row in self._cells for cell in row.values()))

    @functools.cached_property
    def modify_rates(self) -> Mapping[str, Rate]:
        """The modify rate of each class that was attacked, in the model's order."""
        return _tried(_summed(name, row.values()) for name, row in zip(self.classes, self._cells, strict=True))

    @functools.cached_property
    def mimic_rates(self) -> Mapping[str, Rate]:
        """The mimic rate of each class that was a target, in the model's order."""
        columns: list[list[tuple[int, int]]] = [[] for _ in self.classes]
        for row in self._cells:
            for place, cell in row.items():
                columns[place].append(cell)
        return _tried(_summed(name, column) for name, column in zip(self.classes, columns, strict=True))

    def images_of(self, name: str) -> int:
        """At least so many images of this class or group were attacked; InputError for an unknown one."""
        rows = [[n for _, n in self._cells[place].values()] for place in self._places(name)]
        # Each goes towards a target once, and where targets are drawn towards no more than so many.
        return sum(max(*row, -(-sum(row) // (self.record.targets or len(self.classes)))) for row in rows if row)

    def images_towards(self, name: str) -> int:
        """At least so many images were attacked towards this class or group; InputError for an unknown one."""
        columns = [[row[place][1] for row in self._cells if place in row] for place in self._places(name)]
        return max(map(sum, columns), default=0)

    @property
    def modify_rates_by_group(self) -> Mapping[str, Rate]:
        """The modify rate of each group: of the images of its classes, towards whatever target."""
        return self._by_group(self.modify_rates)

    @property
    def mimic_rates_by_group(self) -> Mapping[str, Rate]:
        """The mimic rate of each group: of images of whatever class, towards its classes."""
        return self._by_group(self.mimic_rates)

    @property
    def between_groups(self) -> Mapping[tuple[str, str], Rate]:
        """Images of one group towards the classes of another, or the others of its own, where there were attempts."""
        found = {(a, b): self._between(a, b) for a, b in itertools.product(self.groups, repeat=2)}
        return {groups: rate for groups, rate in found.items() if rate.attempts}

    @property
    def median_modify_rate(self) -> float:
        """The median of the classes' modify rates; InputError where nothing was tried."""
        return _median(self.modify_rates)

    @property
    def median_mimic_rate(self) -> float:
        """The median of the classes' mimic rates; InputError where nothing was tried."""
        return _median(self.mimic_rates)

    @property
    def easiest_to_modify(self) -> tuple[Rate, ...]:
        """The modify rates, the highest first; where they are equal, in the order of the names."""
        return _highest_first(self.modify_rates)

    @property
    def easiest_to_mimic(self) -> tuple[Rate, ...]:
        """The mimic rates, the highest first; where they are equal, in the order of the names."""
        return _highest_first(self.mimic_rates)

    @property
    def hardest_to_modify(self) -> tuple[Rate, ...]:
        """The modify rates, the lowest first."""
        return _lowest_first(self.modify_rates)

    @property
    def hardest_to_mimic(self) -> tuple[Rate, ...]:
        """The mimic rates, the lowest first."""
        return _lowest_first(self.mimic_rates)

    @property
    def correlation(self) -> float | None:
        """Pearson's correlation of the two rates over the classes that have both; None below 3, or where one never varies."""
        both = [name for name in self.modify_rates if name in self.mimic_rates]
        modify = [self.modify_rates[name].value for name in both]
        mimic = [self.mimic_rates[name].value for name in both]
        if len(both) < 3 or min(modify) == max(modify) or min(mimic) == max(mimic):
            return None
        return statistics.correlation(modify, mimic)

    @property
    def question(self) -> str:
        """What was tried, in words: `PGD() at epsilon 2/255 towards every other class`."""
        chosen = {
            "all": "every other class",
            "drawn": f"{self.record.targets} other classes, drawn for each image",
            "given": "given classes",
        }
        return f"{self.record.case.title} towards {chosen[self.record.choice]}"

    def __repr__(self) -> str:
        if not self.pairs:
            return f"{self.question}: no pair was tried, {self.left_out}"
        return (
            f"{self.question}: median modify rate {self.median_modify_rate:.3f}, median mimic rate "
            f"{self.median_mimic_rate:.3f}, {self.pairs:,} pairs"
        )

    def __str__(self) -> str:
        """Classes, those that are easiest to modify first, groups, cells in percent where they are few, and a line about all."""
        if not self.pairs:
            return repr(self)
        tables = [
            self._rows(),
            _square("class", self.classes, self._between),
            self._group_rows(),
            _square("group", self.groups, self._between),
        ]
        correlation = "none" if self.correlation is None else f"{self.correlation:+.2f}"
        n, queries, gradients = self.pairs, self.record.queries, self.record.gradients
        cost = f"a pair took {queries / n:.1f} queries and {gradients / n:.1f} gradients"
        if self.computed:
            cost += f", {1000 * self.seconds / self.computed:.3g} ms ({self.computed:,} computed)"
        lines = [
            f"modify rate: median {self.median_modify_rate:.3f}, {ends(self.easiest_to_modify)}",
            f"mimic rate: median {self.median_mimic_rate:.3f}, {ends(self.easiest_to_mimic)}",
            f"correlation of the two: {correlation}",
            f"left out: {self.left_out}",
            cost,
            "in brackets: 95 % intervals, as if every pair were drawn by itself",
            repr(self),
        ]
        wrapped = (textwrap.fill(line, _WIDTH, subsequent_indent="  ", break_on_hyphens=False) for line in lines)
        return "\n\n".join(["\n".join(table) for table in tables if table] + ["\n".join(wrapped)])

    def _rows(self) -> list[str]:
        names = [rate.name for rate in self.easiest_to_modify]
        # Classes that were targets only come last, those that are easiest to mimic first.
        names += [rate.name for rate in self.easiest_to_mimic if rate.name not in self.modify_rates]
        shown = names if len(names) <= _ROWS else [*names[:_ENDS], *names[-_ENDS:]]
        lines = by_rows(
            ("class", "modify rate", "mimic rate"),
            [(name, self.modify_rates.get(name), self.mimic_rates.get(name)) for name in shown],
        )
        if len(shown) < len(names):
            lines.insert(1 + _ENDS, f"... {len(names) - len(shown)} classes between")
        return lines

    def _group_rows(self) -> list[str]:
        modify, mimic = self.modify_rates_by_group, self.mimic_rates_by_group
        names = [rate.name for rate in _highest_first(modify)]
        names += [name for name in mimic if name not in modify]
        rows = [(name, modify.get(name), mimic.get(name)) for name in names]
        return by_rows(("group", "modify rate", "mimic rate"), rows) if rows else []

    @property
    def left_out(self) -> str:
        """How many images were left out, and of which classes most: `3 images wrong when clean (c 2, a 1)`."""
        counts = sorted(self.record.excluded, key=lambda pair: (-pair[1], pair[0]))
        most = ", ".join(f"{name} {count}" for name, count in counts[:3]) + (", ..." if len(counts) > 3 else "")
        return f"{_counted(self.excluded, 'image')} wrong when clean" + (f" ({most})" if most else "")

    @functools.cached_property
    def _cells(self) -> Sequence[Mapping[int, tuple[int, int]]]:
        """For each true class (successes, attempts) by the place of the target, where there were attempts."""
        return [_parsed(text) for text in self.record.cells]

    def _between(self, true: str, target: str) -> Rate:
        columns = set(self._places(target))
        rows = (self._cells[place] for place in self._places(true))
        cells = (cell for row in rows for place, cell in row.items() if place in columns)
        return _summed(f"{true} towards {target}", cells)

    def check_name(self, name: str) -> None:
        """InputError for what is neither a class nor a group of the matrix."""
        self._places(name)

    def _places(self, name: str) -> Sequence[int]:
        members = dict(self.record.groups).get(name, (name,))
        places = [place for place, known in enumerate(self.classes) if known in members]
        if not places:
            raise InputError(f"expected a class or a group of the matrix, got {name!r}; it has {_some(self.classes)}")
        return places

    def _by_group(self, rates: Mapping[str, Rate]) -> Mapping[str, Rate]:
        return _tried(
            _summed(name, ((own.successes, own.attempts) for member in members if (own := rates.get(member))))
            for name, members in self.record.groups
        )


def cells_text(cells: Mapping[int, tuple[int, int]], classes: int) -> str:
    """A row of `Matrix.cells`: (successes, attempts) by the place of the target, of so many classes."""
    texts = ("{}/{}".format(*cells[place]) if place in cells else "-" for place in range(classes))
    runs = ((text, len(list(run))) for text, run in itertools.groupby(texts))
    return " ".join(text if count == 1 else f"{text}*{count}" for text, count in runs)


def merged(matrices: Sequence[Matrix]) -> Matrix:
    """The matrix of all the pairs of these, which are shards of one: counts are added, nothing is counted twice.

    Raises InputError where they are not of the same attack, strength, classes and choice of pairs.
    """
    first = matrices[0]
    for other in matrices[1:]:
        for name in ("case", "classes", "groups", "choice", "targets", "planned"):
            if getattr(other, name) != getattr(first, name):
                raise InputError(
                    f"expected matrices of one run to merge, got ones whose {name} differ: {_short(getattr(first, name))} and "
                    f"{_short(getattr(other, name))}; run every shard with the same tests and images"
                )
    rows = []
    for texts in zip(*(matrix.cells for matrix in matrices), strict=True):
        counts: collections.defaultdict[int, list[int]] = collections.defaultdict(lambda: [0, 0])
        for text in texts:
            for place, (k, n) in _parsed(text).items():
                counts[place][0] += k
                counts[place][1] += n
        rows.append(cells_text({place: (k, n) for place, (k, n) in counts.items()}, len(first.classes)))
    excluded: collections.Counter[str] = collections.Counter()
    for matrix in matrices:
        excluded.update(dict(matrix.excluded))
    whole = replace(
        first,
        cells=tuple(rows),
        excluded=tuple((name, excluded[name]) for name in first.classes if excluded[name]),
        queries=sum(matrix.queries for matrix in matrices),
        gradients=sum(matrix.gradients for matrix in matrices),
    )
    return replace(whole, examples=exemplary(whole, [pair for matrix in matrices for pair in matrix.examples]))


def exemplary(matrix: Matrix, successes: Collection[Pair]) -> tuple[Pair, ...]:
    """Of these successes one for each class at the ends of the four lists, in the order of images and targets.

    The ends are the five hardest and the five easiest to modify and to mimic; of each, the success that the model is
    surest of. A class that never fell has none.
    """
    by_true, by_target = _surest(successes)
    view = TargetedMatrix(matrix)
    chosen: dict[tuple[str, str], Pair] = {}
    for rates, known in (
        (view.hardest_to_modify, by_true),
        (view.easiest_to_modify, by_true),
        (view.hardest_to_mimic, by_target),
        (view.easiest_to_mimic, by_target),
    ):
        pairs = [known[rate.name] for rate in rates if rate.name in known][:_EXAMPLES]
        chosen.update(((pair.image, pair.target), pair) for pair in pairs)
    return tuple(chosen[key] for key in sorted(chosen))


def surest(successes: Collection[Pair]) -> tuple[Pair, ...]:
    """Of each class the success that the model is surest of, one from it and one towards it, in the order of images and targets.

    Of the successes of shards, `exemplary` needs no others.
    """
    chosen = {(pair.image, pair.target): pair for known in _surest(successes) for pair in known.values()}
    return tuple(chosen[key] for key in sorted(chosen))


def _surest(successes: Collection[Pair]) -> tuple[Mapping[str, Pair], Mapping[str, Pair]]:
    """The surest success from each class, and towards each."""
    by_true: dict[str, Pair] = {}
    by_target: dict[str, Pair] = {}
    for pair in sorted(successes, key=lambda own: (-own.outcome.confidence, own.image, own.target)):
        by_true.setdefault(pair.true, pair)
        by_target.setdefault(pair.target, pair)
    return by_true, by_target


def illustrating(matrix: Matrix) -> Mapping[str, Pair]:
    """One of the examples for each of the four lists by name, "hardest to modify" and so on: of the class that is first in it and
    has one, the success that the model is surest of."""
    view = TargetedMatrix(matrix)
    lists = {
        "hardest to modify": (view.hardest_to_modify, "true"),
        "easiest to modify": (view.easiest_to_modify, "true"),
        "hardest to mimic": (view.hardest_to_mimic, "target"),
        "easiest to mimic": (view.easiest_to_mimic, "target"),
    }
    sure = sorted(matrix.examples, key=lambda own: (-own.outcome.confidence, own.image, own.target))
    found = {}
    for name, (rates, side) in lists.items():
        by_class = {getattr(pair, side): pair for pair in reversed(sure)}
        first = next((by_class[rate.name] for rate in rates if rate.name in by_class), None)
        if first is not None:
            found[name] = first
    return found


def _parsed(text: str) -> Mapping[int, tuple[int, int]]:
    cells: dict[int, tuple[int, int]] = {}
    place = 0
    for part in text.split():
        cell, _, times = part.partition("*")
        count = int(times or 1)
        if cell != "-":
            k, _, n = cell.partition("/")
            cells.update((at, (int(k), int(n))) for at in range(place, place + count))
        place += count
    return cells


def _summed(name: str, cells: Iterable[tuple[int, int]]) -> Rate:
    counts = list(cells)
    return Rate(name, sum(k for k, _ in counts), sum(n for _, n in counts))


def _tried(rates: Iterator[Rate]) -> Mapping[str, Rate]:
    return {rate.name: rate for rate in rates if rate.attempts}


def _median(rates: Mapping[str, Rate]) -> float:
    if not rates:
        raise InputError(
            "expected at least one image that is right when clean, to go towards another class, got none; a median of nothing "
            "is no number"
        )
    return statistics.median(rate.value for rate in rates.values())


def _highest_first(rates: Mapping[str, Rate]) -> tuple[Rate, ...]:
    return tuple(sorted(rates.values(), key=lambda rate: (-rate.value, rate.name)))


def _lowest_first(rates: Mapping[str, Rate]) -> tuple[Rate, ...]:
    return tuple(sorted(rates.values(), key=lambda rate: (rate.value, rate.name)))


def _square(what: str, names: Sequence[str], rate: Callable[[str, str], Rate]) -> list[str]:
    lines = square(names, rate)
    return [f"in percent, from the {what} of the row to that of the column:", *lines] if lines else []


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _short(value: object) -> str:
    text = value.title if isinstance(value, Case) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
