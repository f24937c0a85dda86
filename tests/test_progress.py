"""The line that tells how far an evaluation is: with a clock and a terminal of our own, and once on a real one."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_robustness.progress import Progress

pty = pytest.importorskip("pty")


class Screen:
    """The line below the cursor of a terminal, as a person sees it, and everything that was written."""

    def __init__(self, column: int = 0, width: int = 80) -> None:
        self.now = 100.0
        self.written: list[str] = []
        self.progress = Progress(
            self.written.append, column=lambda: column, width=lambda: width, clock=lambda: self.now
        )

    def tell(self, done: int, total: int, after: float) -> str | None:
        """What is newly written when so many images are done after so many seconds more."""
        self.now += after
        before = len(self.written)
        self.progress(done, total)
        return "".join(self.written[before:]) or None


def test_the_line_appears_after_two_seconds_and_says_how_fast_and_how_long() -> None:
    screen = Screen()
    assert screen.tell(100, 5000, 1.0) is None
    assert screen.tell(200, 5000, 1.0) is None
    assert screen.tell(350, 5000, 1.5) == "\n\rrobustness: 350 of 5,000 images, 100 a second, 46 s left"


def test_it_is_rewritten_in_place_twice_a_second_at_most() -> None:
    screen = Screen()
    screen.tell(0, 5000, 0.0)
    screen.tell(1000, 5000, 10.0)
    assert screen.tell(1010, 5000, 0.4) is None
    assert screen.tell(1050, 5000, 0.1) == "\rrobustness: 1,050 of 5,000 images, 100 a second, 40 s left"


def test_a_shorter_line_covers_the_longer_one() -> None:
    screen = Screen()
    screen.tell(0, 1000, 0.0)
    screen.tell(100, 1000, 10.0)
    assert screen.tell(999, 1000, 0.5) == "\rrobustness: 999 of 1,000 images, 95 a second, 0 s left "
    erased = screen.tell(1000, 1000, 0.1)
    assert erased == f"\r{' ' * len('robustness: 100 of 1,000 images, 10 a second, 90 s left')}\r\x1b[A"


def test_it_is_erased_at_the_end_and_the_cursor_returns_to_the_dots() -> None:
    screen = Screen(column=23)
    screen.tell(0, 500, 0.0)
    shown = screen.tell(100, 500, 10.0)
    assert shown is not None
    assert screen.tell(500, 500, 0.1) == f"\r{' ' * len(shown[2:])}\r\x1b[A\x1b[23C"
    assert screen.tell(500, 500, 10.0) is None


@pytest.mark.parametrize(
    ("done", "seconds", "told"),
    [
        (10, 20, "0.5 a second, 33 min left"),
        (500, 100, "5.0 a second, 100 s left"),
        (900, 3, "300 a second, 0 s left"),
    ],
)
def test_slow_and_fast_are_told_in_the_digits_that_matter(done: int, seconds: int, told: str) -> None:
    screen = Screen()
    screen.tell(0, 1000, 0.0)
    assert screen.tell(done, 1000, seconds) == f"\n\rrobustness: {done} of 1,000 images, {told}"


def test_it_is_cut_to_the_width_of_the_terminal() -> None:
    screen = Screen(width=30)
    screen.tell(0, 500, 0.0)
    assert screen.tell(100, 500, 10.0) == "\n\rrobustness: 100 of 500 images"


def test_an_evaluation_that_failed_leaves_no_line_to_the_next() -> None:
    screen = Screen()
    screen.tell(0, 500, 0.0)
    screen.tell(100, 500, 10.0)
    erased = screen.tell(10, 500, 1.0)
    assert erased is not None
    assert erased.endswith("\r\x1b[A")
    assert screen.tell(20, 500, 2.0) is None
    assert screen.tell(110, 500, 0.5) == "\n\rrobustness: 110 of 500 images, 40 a second, 10 s left"


def test_erasing_what_is_not_there_writes_nothing() -> None:
    screen = Screen()
    screen.progress.erase()
    assert screen.written == []


PROJECT = """
import time, pytest, torch

class Slow(torch.nn.Module):
    def forward(self, images):
        time.sleep(0.02 * len(images))
        return torch.stack([images.mean((1, 2, 3)), 1 - images.mean((1, 2, 3))], 1) * 8

@pytest.fixture(scope="session")
def robustness_model():
    return Slow()

@pytest.fixture(scope="session")
def robustness_images(pytestconfig):
    from pytest_robustness import image_folder
    return image_folder(pytestconfig.rootpath / "images", classes=["dark", "bright"])
"""
TESTS = """
def test_first(robustness_model):
    pass

def test_slow(robustness):
    print("captured")
    robustness.accuracy()
"""


def on_a_terminal(directory: Path, *arguments: str, **environment: str) -> str:
    """What pytest writes to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    plugins = "-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:xdist"
    env = {k: v for k, v in os.environ.items() if k not in ("CI", "PYTEST_ADDOPTS")}
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *plugins, "--robustness-batch-size=10", *arguments],
        cwd=directory,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=env | {"COLUMNS": "80", "TERM": "xterm", "PYTHONPATH": os.pathsep.join(sys.path)} | environment,
    )
    os.close(theirs)
    written = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        written += piece
    os.close(ours)
    assert process.wait(timeout=60) == 0, written.decode()
    return written.decode()


def seen(written: str) -> list[str]:
    """The lines that are left on the screen when everything has been written."""
    rows, row, column = [""], 0, 0
    for piece in re.findall(r"\x1b\[\d*[A-Za-z]|.", written, flags=re.DOTALL):
        if piece == "\n":
            row += 1
            rows += [""] * (row + 1 - len(rows))
        elif piece == "\r":
            column = 0
        elif piece.startswith("\x1b"):
            count = int(piece[2:-1] or 1)
            row, column = (row - count, column) if piece[-1] == "A" else (row, column + count * (piece[-1] == "C"))
        else:
            rows[row] = rows[row].ljust(column)[:column] + piece + rows[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in rows]


def test_on_a_terminal_the_line_is_seen_and_is_gone_afterwards(tmp_path: Path) -> None:
    from tests.conftest import draw_grey

    for number in range(150):
        draw_grey(tmp_path / "images" / "dark" / f"{number}.png", number, size=4)
    (tmp_path / "images" / "bright").mkdir()
    (tmp_path / "conftest.py").write_text(PROJECT, encoding="utf-8")
    (tmp_path / "test_it.py").write_text(TESTS, encoding="utf-8")
    written = on_a_terminal(tmp_path)
    assert re.search(r"robustness: \d+ of 150 images, [45]\d a second, \d s left", written)
    left = seen(written)
    assert not any("a second" in line for line in left)
    assert any(re.fullmatch(r"test_it\.py \.\. +\[100%\]", line) for line in left), left
