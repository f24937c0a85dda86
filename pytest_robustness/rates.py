"""Rates of targeted attacks, and tables of them for 80 columns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_robustness.stats import proportion_interval

__all__ = ["Rate", "by_rows", "ends", "square"]

_WIDTH = 80
# So that a head says something, and a dozen classes fit.
_LEAST_HEAD = 4


@dataclass(frozen=True)
class Rate:
    """How many of the attempts on a class, or on a group, succeeded."""

    name: str
    successes: int
    attempts: int

    @property
    def value(self) -> float:
        """The share, in [0, 1]."""
        return self.successes / self.attempts

    @property
    def interval(self) -> tuple[float, float]:
        """The exact 95 % interval of the share (Clopper and Pearson 1934), as if every attempt were drawn by itself.

        Attempts on one image are alike: of other images, the rate may be outside more often than once in twenty.
        """
        return proportion_interval(self.successes, self.attempts)

    def __str__(self) -> str:
        lower, upper = self.interval
        return f"{self.value:.3f} ({self.successes}/{self.attempts}, {lower:.3f} to {upper:.3f})"


def by_rows(heads: Sequence[str], rows: Sequence[tuple[str, Rate | None, Rate | None]]) -> list[str]:
    """A line per name with two rates, `-` for one there is none of, as detailed as 80 columns allow."""
    formats: tuple[Callable[[Rate], str], ...] = (str, _with_interval, _alone)
    tables = (_table(heads, rows, cell) for cell in formats)
    found = list(tables)
    return next((lines for lines in found if max(map(len, lines)) <= _WIDTH), found[-1])


def ends(rates: Sequence[Rate]) -> str:
    """The highest and the lowest of rates that are given highest first: `highest a 0.95; lowest c 0.20, b 0.31`."""
    most = max(1, min(4, len(rates) // 2))
    parts = (rates[:most], rates[: -most - 1 : -1])
    high, low = (", ".join(f"{rate.name} {rate.value:.2f}" for rate in part) for part in parts)
    return f"highest {high}; lowest {low}"


def square(names: Sequence[str], rate: Callable[[str, str], Rate]) -> list[str]:
    """A line per name with its rate towards each of the names, in percent, `-` where nothing was tried; nothing where they
    don't fit into 80 columns."""
    first = max(map(len, names), default=0)
    # What 80 columns leave to each.
    room = (_WIDTH - first) // max(1, len(names)) - 1
    if room < _LEAST_HEAD or not names:
        return []
    width = min(room, max(first, _LEAST_HEAD))
    lines = [" ".join([" " * first, *(name[:width].rjust(width) for name in names)])]
    lines += [
        " ".join([name.ljust(first), *(_percent(rate(name, other)).rjust(width) for other in names)]) for name in names
    ]
    return lines


def _table(
    heads: Sequence[str], rows: Sequence[tuple[str, Rate | None, Rate | None]], cell: Callable[[Rate], str]
) -> list[str]:
    texts = [tuple(heads), *((name, *("-" if rate is None else cell(rate) for rate in rates)) for name, *rates in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(heads))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in texts]


def _with_interval(rate: Rate) -> str:
    lower, upper = rate.interval
    return f"{rate.value:.3f} ({lower:.3f} to {upper:.3f})"


def _alone(rate: Rate) -> str:
    return f"{rate.value:.3f}"


def _percent(rate: Rate) -> str:
    return f"{100 * rate.value:.0f}" if rate.attempts else "-"
