"""The same selection gives the same results to the byte: in any order, alone, again, and on any worker."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from pytest_robustness.__main__ import main
from pytest_robustness.session import Session
from pytest_robustness.shards import Shard
from tests.conftest import draw_grey

# Of the dark images seven fall, two more than a test has pictures of. No grey under a white overlay is another one.
LEVELS = (0, 20, 40, 60, 83, 85, 87, 89, 91, 93, 96)
TESTS = """
import pytest

@pytest.fixture
def blend():
    from pytest_robustness import Blend
    return Blend("white.png")

def test_holds(robustness, robustness_image, blend):
    robustness.assert_holds_until(robustness_image, blend, 0.3, levels=3)

def test_vote(robustness, robustness_image):
    from pytest_robustness import GaussianNoise, SmoothingVote
    robustness.assert_vote_recovers(robustness_image, GaussianNoise(), 0.3, SmoothingVote())

def test_fgsm(robustness):
    from pytest_robustness import FGSM
    robustness.assert_accuracy(FGSM(), 2 / 255, at_least=0.9)

@pytest.mark.parametrize("other", range(4))
def test_other(other):
    pass
"""
# The controller of a distributed run collects nothing: without torch in its conftest it starts sooner.
CONFTEST = """
import os
import pytest

@pytest.fixture(scope="session")
def robustness_model():
    import hashlib
    import torch
    from brightness import Brightness

    class Watched(Brightness):
        '''Notes which images it was asked about, but for those by which every process gets to know it.'''

        def forward(self, images):
            noise = torch.rand(16, *images.shape[1:], generator=torch.Generator().manual_seed(0))
            # Into a file without a dot in its name: one with a dot is taken for a part of the model, whose bytes count.
            if self.asked and not torch.equal(images[:1], noise[:1]):
                with open("asked", "a") as file:
                    for image in {image.contiguous().numpy().tobytes() for image in images.detach()}:
                        file.write(f"{os.getpid()} {hashlib.md5(image).hexdigest()}\\n")
            self.asked += 1
            return super().forward(images)

        asked = 0

    return Watched()

@pytest.fixture(scope="session")
def robustness_images(pytestconfig):
    from pytest_robustness import image_folder
    return image_folder(pytestconfig.rootpath / "images", classes=["dark", "bright"])
"""


@pytest.fixture
def big(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """The project with more images, more failures than are pictured, and a model that notes what it is asked."""
    for path in (project.path / "images").rglob("*.png"):
        path.unlink()
    for number, level in enumerate(LEVELS):
        draw_grey(project.path / "images" / "dark" / f"dark_{number:02}.png", level)
        draw_grey(project.path / "images" / "bright" / f"bright_{number:02}.png", 254 - level)
    project.makepyfile(test_it=TESTS)
    project.makeconftest(CONFTEST)
    monkeypatch.setenv("PYTHONPATH", str(project.path), prepend=os.pathsep)
    return project


def alone(project: pytest.Pytester, *arguments: str, name: str = "out.json") -> Path:
    """The results of a run in this process."""
    plugins = () if "--lf" in arguments or "--ff" in arguments else ("-p", "no:cacheprovider")
    if not any("randomly" in argument for argument in arguments):
        plugins += ("-p", "no:randomly")
    project.runpytest_inprocess(*plugins, f"--robustness-json={name}", *arguments)
    return project.path / name


def lines(path: Path) -> list[str]:
    """All that a run wrote; where two differ, pytest shows the first line that does."""
    return path.read_text(encoding="utf-8").splitlines()


def entries(path: Path) -> dict[str, str]:
    """Each test's verdicts, as they are written."""
    document = json.loads(path.read_text(encoding="utf-8"))
    tests = sorted({verdict["test"].partition("::")[2] for verdict in document["verdicts"]})
    return {
        test: json.dumps([v for v in document["verdicts"] if v["test"].endswith(f"::{test}")], sort_keys=False)
        for test in tests
    }


def asked(project: pytest.Pytester) -> Counter[str]:
    """How often the model was asked about each image, stressed or not."""
    path = project.path / "asked"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return Counter(line.partition(" ")[2] for line in lines)


def test_in_any_order(big: pytest.Pytester) -> None:
    pytest.importorskip("pytest_randomly")
    once = lines(alone(big))
    assert lines(alone(big)) == once
    for seed in (1, 2):
        assert lines(alone(big, f"--randomly-seed={seed}")) == once


def test_with_reruns_of_what_fails(big: pytest.Pytester) -> None:
    pytest.importorskip("pytest_rerunfailures")
    once = lines(alone(big))
    assert lines(alone(big, "--reruns=2")) == once


def test_one_test_alone_has_the_entry_of_the_full_run(big: pytest.Pytester) -> None:
    everything = entries(alone(big))
    for test in ("test_holds[dark_08]", "test_holds[bright_00]", "test_vote[dark_03]", "test_fgsm"):
        assert entries(alone(big, f"test_it.py::{test}")) == {test: everything[test]}


@pytest.mark.parametrize("expression", ["test_holds and bright", "vote or fgsm", "dark_0 and not dark_09"])
def test_a_selection_has_its_share_of_the_full_run(big: pytest.Pytester, expression: str) -> None:
    everything, share = entries(alone(big)), entries(alone(big, "-k", expression))
    assert share == {test: everything[test] for test in share}
    assert 0 < len(share) < len(everything)


def test_a_run_that_stops_early_has_its_share_and_says_so(big: pytest.Pytester) -> None:
    everything = entries(alone(big))
    path = alone(big, "--maxfail=2")
    share = entries(path)
    assert share == {test: everything[test] for test in share}
    assert 0 < len(share) < len(everything)
    assert json.loads(path.read_text(encoding="utf-8"))["complete"] is False


def test_the_last_failures_alone_have_their_share(big: pytest.Pytester) -> None:
    everything = entries(alone(big, "--ff"))
    share = entries(alone(big, "--lf"))
    assert share == {test: text for test, text in everything.items() if '"status": "fail"' in text}
    assert 0 < len(share) < len(everything)


def test_collecting_evaluates_nothing_and_writes_nothing(big: pytest.Pytester) -> None:
    before = {path for path in big.path.rglob("*") if "__pycache__" not in path.parts}
    alone(big, "--collect-only")
    assert asked(big) == Counter()
    assert {path for path in big.path.rglob("*") if "__pycache__" not in path.parts} == before


def on_two_workers(project: pytest.Pytester, *arguments: str) -> Path:
    pytest.importorskip("xdist")
    plugins = ("-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:rerunfailures")
    project.runpytest_subprocess(*plugins, "-n2", "--robustness-json=two.json", *arguments)
    return project.path / "two.json"


@pytest.mark.parametrize("how", ["--dist=load", "--robustness-xdist=load", "--dist=loadscope"])
def test_two_workers_agree_with_one_process_and_together_ask_the_model_no_more(big: pytest.Pytester, how: str) -> None:
    # Each worker explains the failures that it pictures, of which some are dropped for those of the other.
    once = lines(alone(big, "--robustness-explain=none"))
    single = asked(big)
    assert lines(on_two_workers(big, how, "--robustness-explain=none")) == once
    assert asked(big) <= single


ATTACKED = """
import pytest
from pytest_robustness import FGSM, PGD

@pytest.mark.parametrize("steps", [2, 3])
def test_each(robustness, robustness_image, steps):
    robustness.assert_holds_until(robustness_image, PGD(steps=steps), 0.01, levels=1)

def test_all(robustness):
    robustness.assert_accuracy(PGD(steps=2), 0.01, at_least=0.5)
"""


def test_doubts_are_the_same_in_any_selection_and_on_any_worker(big: pytest.Pytester) -> None:
    big.makepyfile(test_it=ATTACKED)
    conftest = big.path / "conftest.py"
    text = conftest.read_text(encoding="utf-8")
    conftest.write_text(text.replace("super().forward(images)", "super().forward((images * 255).round() / 255)"))
    path = alone(big)
    everything, once = entries(path), lines(path)
    assert '"status": "untrusted"' in everything["test_all"]
    assert len({text.partition('"doubts": ')[2].partition('"test": ')[0] for text in everything.values()}) == 1
    share = entries(alone(big, "-k", "dark_03 or bright_07 or test_all"))
    assert share == {test: everything[test] for test in share}
    asked(big)
    assert lines(alone(big, "-p", "no:cacheprovider")) == once
    single = asked(big)
    assert lines(on_two_workers(big)) == once
    # What a worker asks to get to know the model and its answers, the other asks too; what is attacked, one of them.
    assert sum(asked(big).values()) < 1.5 * sum(single.values())


def test_whole_chunks_alone_keep_workers_from_asking_the_same(
    big: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without anything that they share: each image of each test is met by one worker."""
    # The conftest does so for workers, and in this process for all tests that follow.
    monkeypatch.setattr(Session, "store", None)
    with (big.path / "conftest.py").open("a", encoding="utf-8") as conftest:
        conftest.write("\nfrom pytest_robustness.session import Session\nSession.store = None\n")
    selection = ("-k", "holds or vote")
    once = lines(alone(big, *selection))
    single = asked(big)
    assert lines(on_two_workers(big, *selection)) == once
    assert asked(big) == single


def merge(project: pytest.Pytester, *names: str) -> Path:
    """The results of shards, joined by the command."""
    whole = project.path / "whole.json"
    main(["merge", *(str(project.path / name) for name in names), "--output", str(whole)])
    return whole


def test_shards_together_have_the_results_of_one_run_and_ask_the_model_no_more(big: pytest.Pytester) -> None:
    once = alone(big).read_bytes()
    single = asked(big)
    names = [f"shard-{number}.json" for number in (1, 2, 3)]
    for number, name in enumerate(names, start=1):
        alone(big, f"--robustness-shard={number}/3", name=name)
    # An image is asked about without a stress on its own shard, and on the one where all of them are attacked.
    assert asked(big).keys() == single.keys()
    assert merge(big, *reversed(names)).read_bytes() == once


def test_shards_of_a_selection_have_the_results_of_one_run_of_it(big: pytest.Pytester) -> None:
    selection = ("-k", "dark_0 or fgsm")
    once = alone(big, *selection).read_bytes()
    names = [alone(big, *selection, f"--robustness-shard={n}/2", name=f"shard-{n}.json").name for n in (1, 2)]
    assert merge(big, *names).read_bytes() == once
    other = alone(big, "-k", "dark_0", "--robustness-shard=2/2", name="other.json")
    assert main(["merge", str(big.path / names[0]), str(other)]) == 2


# Of eleven dark images three are within 40 steps of the border, and of the bright ones as many.
PAIRS = """
import pytest
from pytest_robustness import PGD, Blend

pytestmark = pytest.mark.robustness(shard="pairs")

def test_passes(robustness):
    robustness.assert_modify_rate(PGD(steps=3), 40 / 255, at_most=0.5, of="worst")
    robustness.assert_mimic_rate(PGD(steps=3), 40 / 255, at_most=0.5, of="dark", images_per_class=5)

def test_ends_at_the_first_gate_that_fails(robustness):
    robustness.assert_mimic_rate(PGD(steps=3), 40 / 255, at_most=0.5)
    robustness.assert_mimic_rate(PGD(steps=3), 40 / 255, at_most=0.1)
    robustness.assert_mimic_rate(PGD(steps=3), 40 / 255, at_most=0.2)

def test_given(robustness):
    targets = [("dark/dark_10.png", "bright"), ("bright/bright_10.png", "dark")]
    robustness.assert_modify_rate(PGD(steps=3), 40 / 255, at_most=0.9, targets=targets)

@pytest.mark.xfail
def test_fails_as_expected(robustness):
    robustness.assert_modify_rate(PGD(steps=3), 40 / 255, at_most=0.1, of="dark")

@pytest.mark.xfail(strict=True)
def test_has_to_fail(robustness):
    robustness.assert_modify_rate(PGD(steps=3), 40 / 255, at_most=0.1, of="dark")

@pytest.mark.xfail
def test_passes_unexpectedly(robustness):
    robustness.assert_modify_rate(PGD(steps=3), 40 / 255, at_most=0.9)

def test_of_a_name_that_is_none(robustness):
    robustness.assert_modify_rate(PGD(steps=3), 40 / 255, at_most=0.9, of="grey")

@pytest.mark.skip
def test_skipped(robustness):
    robustness.assert_modify_rate(PGD(steps=3), 40 / 255, at_most=0.9)
"""


@pytest.fixture
def paired(big: pytest.Pytester) -> pytest.Pytester:
    """With matrices of targeted attacks that are shared out by their pairs, and one that is on a shard as a whole."""
    whole = "\n@pytest.mark.robustness()\ndef test_whole(robustness):\n    from pytest_robustness import PGD\n"
    whole += "    robustness.assert_modify_rate(PGD(steps=3), 40 / 255, at_most=0.1)\n"
    big.makepyfile(test_it=TESTS.replace("test_fgsm", "test_first") + whole, test_pairs=PAIRS)
    return big


def test_gates_over_pairs_are_judged_as_in_one_run_when_the_shards_are_merged(paired: pytest.Pytester) -> None:
    selection = ("test_pairs.py", "test_it.py::test_whole")
    once = alone(paired, *selection).read_bytes()
    names = [f"shard-{number}.json" for number in (1, 2, 3)]
    for number, name in enumerate(names, start=1):
        alone(paired, *selection, f"--robustness-shard={number}/3", name=name)
    assert merge(paired, *names).read_bytes() == once
    statuses = [(v["test"].partition("::")[2], v["status"]) for v in json.loads(once)["verdicts"]]
    assert [pair for pair in statuses if "first_gate" in pair[0]] == [
        ("test_ends_at_the_first_gate_that_fails", "pass"),
        ("test_ends_at_the_first_gate_that_fails", "fail"),
    ]


def test_shards_on_two_workers_each_have_the_results_of_one_run(paired: pytest.Pytester) -> None:
    selection = ("-k", "holds or first_gate or expected or has_to_fail")
    once = alone(paired, *selection).read_bytes()
    names = ["one.json", "two.json"]
    for number, name in enumerate(names, start=1):
        on_two_workers(paired, f"--robustness-shard={number}/2", *selection).rename(paired.path / name)
    assert merge(paired, *names).read_bytes() == once


KILLED = """
import os, pathlib

def pytest_runtest_logreport(report):
    # In the middle of the tests, the first time.
    if report.when == "call" and report.nodeid.endswith("dark_05]") and "holds" in report.nodeid:
        if not pathlib.Path("killed").exists():
            pathlib.Path("killed").touch()
            os.kill(os.getpid(), 9)
"""


def test_a_shard_that_was_killed_goes_on_where_it_was_and_has_the_results_of_one_that_was_not(
    big: pytest.Pytester,
) -> None:
    with (big.path / "conftest.py").open("a", encoding="utf-8") as conftest:
        conftest.write(KILLED)
    (number,) = (n for n in (1, 2) if Shard(n, 2).takes("dark/dark_05.png"))
    # What a picture is explained by is not kept, and asked again.
    unexplained = "--robustness-explain=none"
    arguments = ("-p", "no:randomly", f"--robustness-shard={number}/2", "--robustness-json=out.json", unexplained)
    assert big.runpytest_subprocess(*arguments).ret == -9
    assert main(["merge", str(big.path / "out.json")]) == 2
    assert json.loads((big.path / "out.json").read_text(encoding="utf-8"))["complete"] is False
    big.runpytest_subprocess(*arguments)
    resumed, together = (big.path / "out.json").read_bytes(), asked(big)
    big.runpytest_subprocess(*arguments, "--robustness-no-cache")
    assert resumed == (big.path / "out.json").read_bytes()
    assert together == asked(big)
