"""One line on the terminal while an evaluation takes long."""

import time
from collections.abc import Callable

__all__ = ["Progress"]

_SECONDS_BEFORE = 2.0
_SECONDS_BETWEEN = 0.5


class Progress:
    """How far an evaluation is, on a line of its own below the cursor, which returns to where it was afterwards.

    The line appears once an evaluation has taken two seconds, is rewritten twice a second at most, and is
    erased when the evaluation ends. `write` writes to a terminal that follows escape sequences; `column` says
    where on its line the cursor stands, and `width` how long a line is.

        robustness: 1,200 of 5,000 images, 85 a second, 45 s left
    """

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        column: Callable[[], int],
        width: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write, self._column, self._width, self._clock = write, column, width, clock
        self._begun: tuple[float, int, int] = (0.0, 0, 0)
        self._done = 0
        self._shown_at = 0.0
        self._shown = 0

    def __call__(self, done: int, total: int, what: str = "images") -> None:
        """So many of the images, or of the pairs, of this evaluation are done."""
        now = self._clock()
        if total != self._begun[2] or done <= self._done:
            # Another evaluation. What its first batch took is not known.
            self.erase()
            self._begun = (now, done, total)
        self._done = done
        started, before, _ = self._begun
        if done >= total:
            self.erase()
            self._begun = (now, 0, 0)
        elif now - started > _SECONDS_BEFORE and now - self._shown_at >= _SECONDS_BETWEEN:
            self._show(_line(done, total, what, (done - before) / (now - started)))
            self._shown_at = now

    def erase(self) -> None:
        """Take the line away, if it is there: also where an evaluation ended by an error."""
        if self._shown:
            self._write(f"\r{' ' * self._shown}\r\x1b[A{_forward(self._column())}")
            self._shown = 0

    def _show(self, line: str) -> None:
        # A line that is full would wrap.
        line = line[: self._width() - 1]
        self._write(("\r" if self._shown else "\n\r") + line.ljust(self._shown))
        self._shown = max(self._shown, len(line))


def _line(done: int, total: int, what: str, rate: float) -> str:
    speed = f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
    left = (total - done) / rate
    remaining = f"{left:.0f} s" if left < 120 else f"{left / 60:.0f} min"
    return f"robustness: {done:,} of {total:,} {what}, {speed} a second, {remaining} left"


def _forward(columns: int) -> str:
    return f"\x1b[{columns}C" if columns else ""
