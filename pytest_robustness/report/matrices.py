"""Modify and mimic as drawings: where every bar, dot and cell of a matrix goes, and what it says when it is pointed at.

Pure functions from records to points; coordinates are those of the drawing, in pixels, y downwards. Rates are in [0, 1].
"""

import math
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pytest_robustness.matrices import TargetedMatrix, illustrating
from pytest_robustness.rates import Rate
from pytest_robustness.records import Matrix, Picture, Results, Verdict

__all__ = [
    "MOST_CLASSES",
    "Bar",
    "Cell",
    "Dot",
    "HeatMap",
    "Histogram",
    "Label",
    "Matrices",
    "Ranking",
    "Scatter",
    "Tick",
    "beside",
    "heat_map",
    "histogram",
    "matrices",
    "scatter",
]

MOST_CLASSES = 60
"""So many rows and columns of a heat map can still be told apart."""

_NAMED = 8
# Of a scatter of so few classes all are named that find a place.
_ALL_NAMED = 20
_LONGEST = 22
_PER_RANKING = 5
# Of the width of the letters of a system font at 1 pixel; a little too much, so that labels keep apart.
_LETTER = 0.58


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


@dataclass(frozen=True)
class Bar:
    """How many classes have a rate within a bin."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class Histogram:
    """How the rates of the classes are spread over [0, 1]; `median` is where their median is drawn."""

    kind: str
    width: int
    height: int
    base: float
    left: float
    right: float
    bars: tuple[Bar, ...]
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]
    median: Tick
    title: str


@dataclass(frozen=True)
class Dot:
    """The classes that have the same two rates; its area goes by their number."""

    x: float
    y: float
    radius: float
    title: str


@dataclass(frozen=True)
class Scatter:
    """Mimic rates against modify rates, a dot for each class; `medians` are those of x and of y."""

    width: int
    height: int
    left: float
    right: float
    top: float
    base: float
    dots: tuple[Dot, ...]
    labels: tuple[Label, ...]
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]
    medians: tuple[Tick, Tick]
    title: str
    caption: str


@dataclass(frozen=True)
class Cell:
    """A true class, or group, towards a target: `shade` in [0, 1] is how dark it is, `text` what stands in it."""

    x: float
    y: float
    shade: float
    text: str
    title: str


@dataclass(frozen=True)
class HeatMap:
    """A matrix as cells of `size`, true classes downwards and targets to the right, both in the order of the groups.

    `untried` is a path with a stroke through every cell without an attempt; `lines` are where a group ends.
    """

    width: int
    height: int
    size: int
    left: float
    top: float
    extent: float
    cells: tuple[Cell, ...]
    untried: str
    rows: tuple[Label, ...]
    columns: tuple[Label, ...]
    groups: tuple[Label, ...]
    lines: tuple[float, ...]
    title: str


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
        return _group_of(self.record)


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
    whom = f"{_count(len(numbers.modify_rates))} classes towards {_count(len(numbers.mimic_rates))}"
    yield f"{_count(numbers.overall.successes)} of {_count(pairs)} attempts to make an image pass as another class succeeded, of {whom}."
    if record.choice == "drawn":
        yield (
            f"The targets are a balanced sample, {record.targets} for each image: rates and their intervals are those of the sample."
        )
    if numbers.excluded:
        yield f"Images that were wrong when clean are left out: {_count(numbers.excluded)}."
    if pairs < record.planned:
        yield f"Of {_count(record.planned)} planned pairs of an image and a target {_count(pairs)} were tried."
    yield f"Cost of a pair: {record.queries / pairs:.1f} queries, {record.gradients / pairs:.1f} gradients."


def histogram(kind: str, rates: Mapping[str, Rate], *, width: int = 340, height: int = 170) -> Histogram:
    """The histogram of these rates, at least one: in tenths, and from 100 classes on in twentieths."""
    bins = 20 if len(rates) >= 100 else 10
    left, right, top, base = 34.0, width - 10.0, 18.0, height - 38.0
    names: list[list[str]] = [[] for _ in range(bins)]
    for rate in rates.values():
        # In whole numbers: 0.3 * 10 in floats may be below 3.
        names[min(bins - 1, rate.successes * bins // rate.attempts)].append(rate.name)
    ticks = _whole_ticks(max(map(len, names)))
    step, unit = (right - left) / bins, (base - top) / ticks[-1]
    median = statistics.median(rate.value for rate in rates.values())
    return Histogram(
        kind=kind,
        width=width,
        height=height,
        base=base,
        left=left,
        right=right,
        bars=tuple(
            Bar(
                round(left + place * step + 1, 1),
                round(base - len(own) * unit, 1),
                round(step - 2, 1),
                round(len(own) * unit, 1),
                f"{kind} rate {place / bins:g} to {(place + 1) / bins:g}: {_classes(len(own))} ({_listed(own)})",
            )
            for place, own in enumerate(names)
            if own
        ),
        x=tuple(Tick(round(left + share * (right - left), 1), f"{share:g}") for share in (0, 0.25, 0.5, 0.75, 1)),
        y=tuple(Tick(round(base - count * unit, 1), str(count)) for count in ticks),
        median=Tick(round(left + median * (right - left), 1), f"median {median:.3f}"),
        title=f"Histogram of the {kind} rates of {_classes(len(rates))}: median {median:.3f}, "
        f"from {min(r.value for r in rates.values()):.3f} to {max(r.value for r in rates.values()):.3f}",
    )


def scatter(numbers: TargetedMatrix, *, width: int = 440, height: int = 380) -> Scatter | None:
    """The scatter of the classes that have both rates; None where there are none."""
    both = [name for name in numbers.modify_rates if name in numbers.mimic_rates]
    if not both:
        return None
    points = {name: (numbers.modify_rates[name].value, numbers.mimic_rates[name].value) for name in both}
    left, right, top, base = 48.0, width - 14.0, 12.0, height - 40.0
    across = _Axis.over([x for x, _ in points.values()], left, right)
    up = _Axis.over([y for _, y in points.values()], base, top)
    at: dict[tuple[float, float], list[str]] = {}
    for name, (x, y) in points.items():
        at.setdefault((across.at(x), up.at(y)), []).append(name)
    dots = tuple(
        Dot(x, y, _radius(len(names), len(both)), _pointed(names, *points[names[0]]))
        for (x, y), names in sorted(at.items())
    )
    place = {name: where for where, names in at.items() for name in names}
    wanted = _outliers(numbers, both) if len(both) > _ALL_NAMED else both
    texts = {place[name]: _short(name) + _more(len(at[place[name]])) for name in reversed(wanted)}
    order = list(dict.fromkeys(place[name] for name in wanted))
    medians = [statistics.median(own) for own in zip(*points.values(), strict=True)]
    correlation = numbers.correlation
    found = "not defined" if correlation is None else f"{correlation:+.2f}"
    return Scatter(
        width=width,
        height=height,
        left=left,
        right=right,
        top=top,
        base=base,
        dots=dots,
        labels=tuple(_labelled([(where, texts[where]) for where in order], dots, (left, top, right, base))),
        x=across.ticks,
        y=up.ticks,
        medians=(
            Tick(across.at(medians[0]), f"median {medians[0]:.3f}"),
            Tick(up.at(medians[1]), f"median {medians[1]:.3f}"),
        ),
        title=f"Scatter of mimic rate against modify rate of {_classes(len(both))}",
        caption=f"A dot is a class. Pearson correlation of the two rates over {_classes(len(both))}: {found}. Dashed: medians.",
    )


def heat_map(numbers: TargetedMatrix) -> tuple[HeatMap | None, str]:
    """The heat map by class or, of more than `MOST_CLASSES`, by group; None, and why, where neither can be read."""
    record = numbers.record
    if len(record.classes) <= MOST_CLASSES:
        order, ends = _by_group(record)
        tried = {
            (a, b): Rate("", numbers.successes(a, b), of)
            for a in order
            for b in order
            if (of := numbers.attempts(a, b))
        }
        return _heat_map(tried, order, ends, _spans(record, order)), ""
    kept = f"The matrix of {_count(len(record.classes))} classes is in the JSON results"
    if not 0 < len(record.groups) <= MOST_CLASSES:
        why = (
            "name groups of them in classes.yaml to see it by group"
            if not record.groups
            else "so is that of its groups"
        )
        return None, f"{kept}; {why}."
    groups = [name for name, _ in record.groups]
    return _heat_map(numbers.between_groups, groups, [], []), f"{kept}; here it is by group."


def _heat_map(
    between: Mapping[tuple[str, str], Rate],
    order: Sequence[str],
    ends: Sequence[int],
    spans: Sequence[tuple[str, int, int]],
) -> HeatMap:
    n = len(order)
    size = 44 if n <= 12 else 26 if n <= 25 else 13
    letters = 12 if n <= 25 else 10
    longest = max(len(_short(name)) for name in order) * letters * _LETTER
    left, top = math.ceil(longest) + 30, math.ceil(longest * 0.87) + 30
    extent = n * size
    beside = max((len(_short(name)) for name, _, _ in spans), default=0) * letters * _LETTER
    cells, untried = [], []
    for row, true in enumerate(order):
        for column, target in enumerate(order):
            x, y = left + column * size, top + row * size
            rate = between.get((true, target))
            if rate is None:
                inset = size // 4
                untried.append(f"M{x + inset} {y + size - inset}l{size - 2 * inset} {2 * inset - size}")
                continue
            said = f"{100 * rate.value:.0f}" if size == 44 else ""
            title = f"{true} as {target}: {rate.successes}/{rate.attempts} ({rate.value:.3f})"
            cells.append(Cell(x, y, round(rate.value, 3), said, title))
    middle = size / 2
    return HeatMap(
        width=math.ceil(left + extent + max(longest * 0.5, beside + 16) + 8),
        height=math.ceil(top + extent + 46),
        size=size,
        left=left,
        top=top,
        extent=extent,
        cells=tuple(cells),
        untried="".join(untried),
        rows=tuple(
            Label(left - 6, top + place * size + middle + 4, "end", _short(name), name)
            for place, name in enumerate(order)
        ),
        columns=tuple(
            Label(left + place * size + middle + 3, top - 6, "start", _short(name), name)
            for place, name in enumerate(order)
        ),
        groups=tuple(
            Label(left + extent + 8, top + (first + last) / 2 * size + 4, "start", _short(name), name)
            for name, first, last in spans
        ),
        lines=tuple(float(end * size) for end in ends),
        title=_heat_title(cells, n),
    )


def _heat_title(cells: Sequence[Cell], n: int) -> str:
    ordered = sorted(cells, key=lambda cell: -cell.shade)
    ends = f"; highest {ordered[0].title}, lowest {ordered[-1].title}" if ordered else ""
    return f"Heat map of {n} by {n}, true class downwards, target to the right{ends}"


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


@dataclass(frozen=True)
class _Axis:
    """Rates from `low` to `high` between two places of the drawing."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, rates: Sequence[float], start: float, end: float) -> "_Axis":
        """From the tenth below the lowest to the tenth above the highest, at least three tenths."""
        low, high = math.floor(10 * min(rates) + 1e-9), math.ceil(10 * max(rates) - 1e-9)
        while high - low < 3:
            low, high = max(0, low - (high == 10 or low > 0)), min(10, high + 1)
        return cls(low / 10, high / 10, start, end)

    def at(self, rate: float) -> float:
        return round(self.start + (rate - self.low) / (self.high - self.low) * (self.end - self.start), 1)

    @property
    def ticks(self) -> tuple[Tick, ...]:
        tenths = range(round(10 * self.low), round(10 * self.high) + 1)
        every = 1 if len(tenths) <= 6 else 2
        return tuple(Tick(self.at(tenth / 10), f"{tenth / 10:g}") for tenth in tenths[::every])


def _whole_ticks(highest: int) -> list[int]:
    """From 0 to at least the highest count, in at most five equal steps of 1, 2 or 5 times a power of ten."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            step = factor * power
            if highest <= 5 * step:
                return list(range(0, step * max(1, -(-highest // step)) + 1, step))
        power *= 10


def _outliers(numbers: TargetedMatrix, names: Collection[str]) -> list[str]:
    """The ends of the four lists in turn, the furthest out first."""
    lists = [
        [rate.name for rate in rates if rate.name in names][:_NAMED]
        for rates in (
            numbers.hardest_to_modify,
            numbers.hardest_to_mimic,
            numbers.easiest_to_modify,
            numbers.easiest_to_mimic,
        )
    ]
    return list(dict.fromkeys(name for turn in zip(*lists, strict=True) for name in turn))


_Box = tuple[float, float, float, float]


def _labelled(wanted: Sequence[tuple[tuple[float, float], str]], dots: Sequence[Dot], inside: _Box) -> Iterator[Label]:
    """The texts at these dots that find a place beside them, where they cover neither a dot nor another text."""
    taken = [(dot.x - dot.radius, dot.y - dot.radius, dot.x + dot.radius, dot.y + dot.radius) for dot in dots]
    radii = {(dot.x, dot.y): dot.radius for dot in dots}
    for (x, y), text in wanted:
        away, width = radii[x, y] + 4, len(text) * 11 * _LETTER
        places: tuple[tuple[float, float, Literal["start", "middle", "end"]], ...] = (
            (x + away, y + 4, "start"),
            (x - away, y + 4, "end"),
            (x, y - away, "middle"),
            (x, y + away + 8, "middle"),
            (x + away, y - 5, "start"),
            (x + away, y + 13, "start"),
            (x - away, y - 5, "end"),
            (x - away, y + 13, "end"),
        )
        for at, line, anchor in places:
            start = at - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
            box = (start, line - 9, start + width, line + 2)
            within = inside[0] <= box[0] and box[2] <= inside[2] and inside[1] <= box[1] and box[3] <= inside[3]
            if within and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                yield Label(round(at, 1), round(line, 1), anchor, text)
                break


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _by_group(record: Matrix) -> tuple[list[str], list[int]]:
    """The classes in the order of their first groups, those of none last, and the places where a group ends."""
    groups, of = [name for name, _ in record.groups], _group_of(record)
    rank = {name: groups.index(of[name]) if name in of else len(groups) for name in record.classes}
    order = sorted(record.classes, key=lambda name: rank[name])
    return order, [place for place in range(1, len(order)) if rank[order[place - 1]] != rank[order[place]]]


def _spans(record: Matrix, order: Sequence[str]) -> list[tuple[str, int, int]]:
    """Each group that has classes in this order, with its first place and the one after its last."""
    of = _group_of(record)
    found = []
    for group, _ in record.groups:
        places = [place for place, name in enumerate(order) if of.get(name) == group]
        if places:
            found.append((group, places[0], places[-1] + 1))
    return found


def _group_of(record: Matrix) -> dict[str, str]:
    found: dict[str, str] = {}
    for group, members in record.groups:
        for name in members:
            found.setdefault(name, group)
    return found


def _radius(count: int, of: int) -> float:
    return round(min(9.0, (2.5 if of > 200 else 4.0) * math.sqrt(count)), 1)


def _pointed(names: Sequence[str], modify: float, mimic: float) -> str:
    return f"{_listed(names)}: modify rate {modify:.3f}, mimic rate {mimic:.3f}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _more(count: int) -> str:
    return f" +{count - 1}" if count > 1 else ""


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _classes(count: int) -> str:
    return "1 class" if count == 1 else f"{_count(count)} classes"


def _count(number: int) -> str:
    return f"{number:,}"
