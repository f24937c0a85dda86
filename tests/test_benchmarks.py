"""The benchmarks: their arithmetic, that contenders do the same work, and that the command prints its table. No times."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import append, begin, main
from benchmarks.agreement import Fared, Pair, Task, compared, ours, theirs
from benchmarks.contenders import contend, limit
from benchmarks.material import LEVELS, ROOT, Job, Stress, copy_images, draw_pictures, fill_with_photos
from benchmarks.measure import Figure, ended, interleaved
from benchmarks.parts import differing, held
from benchmarks.suites import Suite, counts, session_seconds
from benchmarks.table import WIDTH, Headline, Row, Section, Target, render
from benchmarks.targeted import Goal
from benchmarks.targeted import ours as our_pairs
from benchmarks.targeted import theirs as their_pairs
from pytest_robustness import image_folder

# Blocks the libraries that are measured against, which need not be there and are slow to import.
HIDE_PEERS = "import sys\nsys.modules['foolbox'] = sys.modules['torchattacks'] = None\n"


def test_a_figure_is_its_median_with_the_smallest_and_the_largest_value() -> None:
    figure = Figure((3.0, 1.0, 10.0))
    assert (figure.median, figure.low, figure.high) == (3.0, 1.0, 10.0)
    assert Figure((1.0, 2.0, 3.0, 10.0)).median == 2.5


def test_a_figure_without_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one measured value, got none; measure before you report"):
        Figure(())


def test_start_up_is_taken_off_and_ratios_are_taken_round_by_round() -> None:
    whole, start = Figure((5.0, 9.0, 6.0)), Figure((1.0, 3.0, 2.0))
    assert whole.minus(start) == Figure((4.0, 6.0, 4.0))
    assert whole.over(start) == Figure((5.0, 3.0, 3.0))


def test_what_a_subtraction_left_nothing_of_has_no_ratio() -> None:
    some, nothing = Figure((1.0, 2.0)), Figure((1.0, 1.0)).minus(Figure((0.5, 1.5)))
    assert nothing == Figure((0.5, -0.5))
    assert some.over(nothing) is None
    assert nothing.over(some) is None


def test_rounds_take_turns_in_beginning() -> None:
    order: list[str] = []
    runs = {name: lambda name=name: order.append(name) or len(order) for name in "abc"}  # type: ignore[func-returns-value]
    assert interleaved(runs, 3) == {"a": [1, 6, 8], "b": [2, 4, 9], "c": [3, 5, 7]}
    assert "".join(order) == "abcbcacab"


def test_a_process_that_ended_tells_seconds_memory_status_and_output(tmp_path: Path) -> None:
    code = "print('told'); raise SystemExit(3)"
    run = ended([sys.executable, "-c", code], folder=tmp_path, environment=os.environ)
    assert (run.status, run.output) == (3, "told\n")
    assert run.seconds > 0
    assert run.megabytes > 1


def test_a_table_has_eighty_columns_and_says_whether_targets_are_kept() -> None:
    alone, ours = Figure((1.0, 2.0, 4.0)), Figure((0.1, 0.2, 0.8))
    section = Section(
        "t. a title",
        "seconds over the model's",
        [
            Headline("epsilon 1/255"),
            Row("model", alone, alone.over(alone)),
            Row("ours", ours, ours.over(alone), Target("<=", 0.1)),
            Row("ours", ours, ours.over(alone), Target(">=", 0.25)),
            Row("a name that is much too long for its column", ours),
            Row("lost", Figure((-0.5, 0.5)), None, Target("<=", 1)),
            Row("peer", remark="not installed"),
        ],
        notes=["a note " * 20],
    )
    lines = render(section).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert lines[:-2] == [
        "t. a title",
        "ratio: seconds over the model's",
        "",
        "                            seconds       min..max  ratio     min..max target",
        "-" * 80,
        "epsilon 1/255",
        "  model                        2.00     1.00..4.00   1.00   1.00..1.00",
        "  ours                        0.200   0.100..0.800  0.100 0.100..0.200 <=0.1 ok",
        "  ours                        0.200   0.100..0.800  0.100 0.100..0.200 >=0.25 no",
        "  a name that is much too long for its column",
        "                              0.200   0.100..0.800",
        "  lost                         0.00  -0.500..0.500  none: not all above 0",
        "  peer                       not installed",
        "",
    ]


def test_verdicts_are_compared_one_by_one_and_a_gate_remembers_every_level_below() -> None:
    assert differing((True, False, True), (True, True, False)) == 2
    with pytest.raises(ValueError, match="longer than"):
        differing((True,), (True, True))
    # Two levels of three images, then a third at which the first image is right again.
    right = (True, True, False, False, True, True, True, True, True)
    assert held(right, 3) == (True, True, False, False, True, False, False, True, False)


@pytest.mark.parametrize(
    ("output", "passed_failed", "seconds"),
    [
        ("..F\n1 failed, 2 passed in 0.25s\n", (2, 1), 0.25),
        ("500 passed, 1 warning in 75.30s (0:01:15)", (500, 0), 75.3),
    ],
)
def test_pytests_last_line_tells_counts_and_seconds(
    output: str, passed_failed: tuple[int, int], seconds: float
) -> None:
    assert counts(output) == passed_failed
    assert session_seconds(output) == seconds


def test_an_output_without_pytests_last_line_is_refused() -> None:
    assert counts("") == (0, 0)
    with pytest.raises(ValueError, match="expected pytest's last line to end in its seconds, got 'Killed'"):
        session_seconds("Killed")


def test_a_suite_runs_whole_or_with_its_first_items_and_is_refused_when_it_errs(tmp_path: Path) -> None:
    tests = "import pytest\n\n@pytest.mark.parametrize('n', range(4))\ndef test_small(n):\n    assert n < 3\n"
    suite = Suite.written(tmp_path / "suite", options=["-p", "no:robustness"], threads=1, conftest="", tests=tests)
    assert counts(suite.run().output) == (3, 1)
    assert counts(suite.run(items=2).output) == (2, 0)
    broken = Suite.written(tmp_path / "broken", options=[], threads=1, conftest="", tests="import nowhere\n")
    with pytest.raises(RuntimeError, match="ended with status 2:"):
        broken.run()


def test_drawn_pictures_are_images_in_class_folders_and_no_two_are_alike(tmp_path: Path) -> None:
    draw_pictures(tmp_path / "drawn", 3, width=16, height=8, suffix=".png")
    files = sorted(path.relative_to(tmp_path / "drawn").as_posix() for path in (tmp_path / "drawn").glob("*/*"))
    assert files == ["even/00000.png", "even/00002.png", "odd/00001.png"]
    assert len({(tmp_path / "drawn" / file).read_bytes() for file in files}) == 3
    assert re.fullmatch(r"2 (drawn JPEGs of 427 x 320 px|JPEG photos)", fill_with_photos(tmp_path / "photos", 2))
    assert len(list((tmp_path / "photos").glob("*/*.jpg"))) == 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images = tmp_path_factory.mktemp("attacked")
    assert copy_images(ROOT / "fixtures" / "images", images, per_class=1) == 12
    return images


def test_images_of_a_task_are_spread_evenly_over_the_folder(folder: Path) -> None:
    ids = Task("fixtures_plain", folder, 12, 1, 5).ids
    assert ids == [image.id for image in image_folder(folder).images]
    assert Task("fixtures_plain", folder, 8, 1, 5).ids == [ids[place] for place in (0, 1, 3, 4, 6, 7, 9, 10)]


def test_a_comparison_counts_what_holds_what_broke_it_and_names_the_images_that_differ() -> None:
    task = Task("fixtures_plain", Path("images"), 5, 0.5, 1000)
    own = Fared(2.0, {"a": "clean", "b": "apgd-ce", "c": "nothing", "d": "nothing", "e": "apgd-t"})
    peer = Fared(4.0, {"a": "clean", "b": "apgd-t", "c": "square", "d": "fab-t", "e": "apgd-t"})
    lines = render(compared("some model", [Pair(task, own, peer), Pair(task, own, own)], judged=True)).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert lines == [
        "h. AutoAttack in Linf: some model, 5 images, Square with 1000 queries, cpu, 1",
        "thread",
        "ratio: seconds of the processor over pyautoattack's",
        "",
        "                            seconds       min..max  ratio     min..max target",
        "-" * 80,
        "epsilon 0.5/255",
        "  pyautoattack                 4.00     4.00..4.00   1.00   1.00..1.00",
        "  pytest-robustness            2.00     2.00..2.00  0.500 0.500..0.500",
        "epsilon 0.5/255",
        "  pyautoattack                 2.00     2.00..2.00   1.00   1.00..1.00",
        "  pytest-robustness            2.00     2.00..2.00   1.00   1.00..1.00",
        "",
        "Images that are right when clean, and that hold under the attacks of each:",
        "  epsilon     clean   ours  theirs",
        "  0.5/255         4      2       0  +-1 no",
        "  0.5/255         4      2       2  +-1 ok",
        "Images that each attack broke of those left to it, ours and theirs:",
        "  epsilon       apgd-ce     apgd-t      fab-t     square",
        "  0.5/255           1 0        1 2        0 1        0 1",
        "  0.5/255           1 1        1 1        0 0        0 0",
        "Images that hold under one alone, and what broke them under the other:",
        "  0.5/255    c: ours nothing, theirs square",
        "  0.5/255    d: ours nothing, theirs fab-t",
    ]


def test_a_comparison_without_the_peer_says_so() -> None:
    pair = Pair(Task("fixtures_plain", Path("images"), 1, 4, 20), Fared(2.0, {"a": "nothing"}), None)
    lines = render(compared("some model", [pair], judged=False)).splitlines()
    assert lines[lines.index("epsilon 4/255") :] == [
        "epsilon 4/255",
        "  pyautoattack               not installed",
        "  pytest-robustness            2.00     2.00..2.00",
        "",
        "Images that are right when clean, and that hold under the attacks of each:",
        "  epsilon     clean   ours  theirs",
        "  4/255           1      1",
        "Images that each attack broke of those left to it, ours and theirs:",
        "  epsilon       apgd-ce     apgd-t      fab-t     square",
        "  4/255               0          0          0          0",
    ]


def test_both_cascades_break_what_any_attack_breaks_and_leave_what_is_wrong_when_clean(tmp_path: Path) -> None:
    pytest.importorskip("pyautoattack")
    copy_images(ROOT / "fixtures" / "images", tmp_path, per_class=1)
    # A ball among the mugs.
    wrong = "mug/of_another_class.png"
    next((tmp_path / "ball").iterdir()).rename(tmp_path / wrong)
    task = Task("fixtures_plain", tmp_path, 4, 64, 5)
    tracer = sys.gettrace()
    by_us, by_them = ours(task), theirs(task)
    # pyautoattack ends whatever traces, coverage and debuggers too.
    sys.settrace(tracer)
    assert by_us.causes == by_them.causes == {image: "clean" if image == wrong else "apgd-ce" for image in task.ids}
    assert wrong in task.ids
    assert min(by_us.seconds, by_them.seconds) > 0


def test_every_image_goes_towards_every_other_class_on_both_sides(tmp_path: Path) -> None:
    pytest.importorskip("torchattacks")
    copy_images(ROOT / "fixtures" / "images", tmp_path, per_class=1)
    goal = Goal("fixtures_plain", tmp_path, 8, 5)
    by_us, by_them = our_pairs(goal), their_pairs(goal)
    # All are right when clean.
    assert by_us.pairs == by_them.pairs == 12 * 11
    # Ours ends at the first success, and tries the edge of the ball as well.
    assert 0 < by_them.reached <= by_us.reached <= by_us.pairs
    assert min(by_us.seconds, by_them.seconds) > 0


@pytest.mark.parametrize("stress", ["clean", "fgsm", "pgd", "blend"])
def test_this_package_and_the_loop_by_hand_come_to_the_same_verdicts(folder: Path, stress: Stress) -> None:
    job = Job("fixtures_plain", folder, "cpu", stress, 1 / 255)
    by_hand, ours = contend("by hand", job), contend("ours", job)
    assert len(by_hand.right) == (12 * len(LEVELS) if stress == "blend" else 12)
    # An image at the very edge may go either way.
    assert differing(ours.right, by_hand.right) <= 1
    assert differing(ours.right, contend("by hand, float64", job).right) <= 1
    assert sum(by_hand.right) > 0
    assert (sum(by_hand.right) < len(by_hand.right)) == (stress != "clean")
    if stress == "blend":
        assert differing(contend("ours, ladder", job).right, held(by_hand.right, 12)) <= 1
    assert min(by_hand.seconds, ours.seconds, limit(job).seconds) > 0


@pytest.mark.parametrize("stress", ["fgsm", "pgd"])
@pytest.mark.parametrize("peer", ["foolbox"])
def test_a_peer_finds_no_fewer_survivors_than_the_loop_by_hand(folder: Path, peer: str, stress: Stress) -> None:
    """A peer asks about the last iterate alone: whatever stands at every iterate stands there."""
    pytest.importorskip(peer)
    job = Job("fixtures_plain", folder, "cpu", stress, 1 / 255)
    standing, last = (contend(name, job).right for name in ("by hand", peer))  # type: ignore[arg-type]
    assert sum(now < before for before, now in zip(standing, last, strict=True)) <= 1


def test_the_command_prints_its_rows_with_positive_ratios(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDE_PEERS, encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "a", "--repeats", "1", "--threads", "1"]
    # Without bytecode, every worker would compile torch.
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    lines = run.stdout.splitlines()
    assert lines[2] == "python -m benchmarks --quick --only a --repeats 1 --threads 1"
    assert max(map(len, lines[3:])) <= WIDTH
    titles = [line.partition(":")[0] for line in lines if line.startswith("a. ")]
    assert titles == ["a. FGSM", "a. PGD, 20 steps", "a. blends"]
    rows = re.findall(r"^  (limit|loop by hand|pytest-robustness|the same as a gate) (.*\.\..*)$", run.stdout, re.M)
    assert [name for name, _ in rows] == [
        *["limit", "loop by hand", "pytest-robustness"] * 2,
        *["limit", "loop by hand", "pytest-robustness", "the same as a gate"],
    ]
    for name, numbers in rows:
        seconds, _, ratio, _ = numbers.split()
        assert float(seconds) > 0, name
        assert float(ratio) > 0, name
    for peer in ("foolbox", "torchattacks"):
        # Of FGSM and of PGD.
        assert len(re.findall(rf"^  {peer} +not installed$", run.stdout, re.M)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "a,z"], "argument --only: expected parts out of a,b,c,d,e,f,g,h,i, got 'z'"),
        (["--repeats", "0"], "argument --repeats: expected a whole number >= 1, got '0'"),
        (["--threads", "two"], "argument --threads: expected a whole number >= 1, got 'two'"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert capsys.readouterr().err.splitlines()[-1] == f"python -m benchmarks: error: {message}"


def test_a_run_is_added_to_the_end_of_the_record_table_by_table(tmp_path: Path) -> None:
    record = tmp_path / "RESULTS.md"
    for day in ("first", "second"):
        begin(record, [day, "torch 2", "python -m benchmarks"])
        for table in ("a. table\n", "b. table\n"):
            append(record, table)
    begun = "# Results\n\nRuns of `python -m benchmarks`, the newest last.\n"
    tables = "\n```text\na. table\n```\n\n```text\nb. table\n```\n"
    run = "\n## {}\n\n`python -m benchmarks`\n\ntorch 2\n" + tables
    assert record.read_text(encoding="utf-8") == begun + run.format("first") + run.format("second")
