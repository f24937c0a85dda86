"""The parts measured as whole pytest runs: suites of one item per image, and what the plugin adds to an unrelated suite.

Each suite is a project in a scratch folder, run by pytest in a process of its own, without any plugin that it does not need.
Its items cost what pytest's own clock says, less what it says of the same suite with all but the first item dropped after
collection: that leaves out interpreter, imports, model, collection, and whatever the first answer costs more than another. What
is left out of the wall seconds is shown as the start-up.
"""

import functools
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.material import LEVELS, OVERLAY, ROOT, STEPS, Classifier, Job, Stress, copy_images, draw_grey, material
from benchmarks.measure import Ended, Figure, Worker, ended, interleaved
from benchmarks.parts import FULL, Setting, contend, installed
from benchmarks.table import Headline, Row, Section, Target

__all__ = ["Suite", "counts", "items", "session_seconds", "start"]

_FEWER = """
import os

def pytest_collection_modifyitems(items):
    del items[int(os.environ.get("BENCHMARKS_ITEMS", len(items))):]
"""

_OURS = """
import pytest

from benchmarks.material import classifier
from pytest_robustness import image_folder

@pytest.fixture(scope="session")
def robustness_model():
    return classifier({classifier!r})

@pytest.fixture(scope="session")
def robustness_images():
    return image_folder({images!r})
"""

_OUR_PGD = """
from pytest_robustness import PGD

def test_holds(robustness, robustness_image):
    robustness.assert_holds_until(robustness_image, PGD(steps={steps}), {epsilon}, levels=1)
"""

_OUR_CLEAN = """
def test_is_right(robustness, robustness_image):
    robustness.assert_accuracy(at_least=1.0, images=robustness_image)
"""

_OUR_BLENDS = """
from pytest_robustness import Blend

ZEBRA = Blend({overlay!r})

def test_holds(robustness, robustness_image):
    robustness.assert_holds_until(robustness_image, ZEBRA, {alpha}, levels={levels})
"""

_PEER_PGD = """
from pathlib import Path

import pytest
import torch
import torchattacks

from benchmarks.material import classifier, read

PATHS = sorted(Path({images!r}).glob("*/*"))
CLASSES = sorted({{path.parent.name for path in PATHS}})

@pytest.fixture(scope="session")
def model():
    return classifier({classifier!r}).to({device!r})

@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{{path.parent.name}}-{{path.stem}}")
def test_holds(model, path):
    image = read(path)[None].to({device!r})
    label = torch.tensor([CLASSES.index(path.parent.name)], device={device!r})
    assert predicted(model, image) == label.item()
    attack = torchattacks.PGD(model, eps={epsilon}, alpha={step}, steps={steps}, random_start=False)
    assert predicted(model, attack(image, label)) == label.item()

def predicted(model, image):
    with torch.no_grad():
        return model(image).argmax(1).item()
"""

_EMPTY = """
import pytest

@pytest.mark.parametrize("number", range({n}))
def test_nothing(number):
    pass
"""


# Of whoever tests a model: pytest looks at each of torch's loggers three times an item.
_TORCH = """
import torch
"""

# All ids have one file, and the model is next to nothing: what is left is what the items themselves cost.
_COPIES = """
from pathlib import Path

import pytest
import torch
from pytest_robustness import ImageSet, LabelledImage

class Brightness(torch.nn.Module):
    def forward(self, images):
        brightness = images.mean((1, 2, 3)) - 0.25
        return torch.stack([-brightness, brightness], 1)

@pytest.fixture(scope="session")
def robustness_model():
    return Brightness()

@pytest.fixture(scope="session")
def robustness_images():
    copies = [LabelledImage(f"bright/{{i:05}}.png", Path({image!r}), (1,)) for i in range({n})]
    return ImageSet(copies, ["dark", "bright"], name="copies")
"""

_KNOWN = """
import contextlib

from pytest_robustness import Blend

BLACK = Blend({overlay!r})

def test_all(robustness):
    with contextlib.suppress(AssertionError):
        robustness.assert_holds_until(robustness.engine.images, BLACK, {alpha})

def test_one(robustness, robustness_image):
    robustness.assert_holds_until(robustness_image, BLACK, {alpha})
"""

_BARE = """
import pytest

def test_all():
    pass

@pytest.mark.parametrize("number", range({n}))
def test_one(number):
    assert {holds}
"""


@dataclass(frozen=True)
class Suite:
    """A project for pytest: its folder and the options it is run with. `threads` as everywhere."""

    folder: Path
    options: Sequence[str]
    threads: int

    @classmethod
    def written(cls, folder: Path, *, options: Sequence[str], threads: int, conftest: str, tests: str) -> "Suite":
        """A project of these two files, in a folder that is made for it."""
        folder.mkdir(parents=True)
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        (folder / "conftest.py").write_text(_FEWER + conftest, encoding="utf-8")
        (folder / "test_suite.py").write_text(tests, encoding="utf-8")
        return cls(folder, options, threads)

    def run(self, *, items: int | None = None) -> Ended:
        """Run it, all of it or the first items only; RuntimeError where tests neither pass nor fail."""
        # Bytecode is written and options are the suite's own, whatever this process was told.
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
        environment |= {
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": str(self.threads),
            "MKL_NUM_THREADS": str(self.threads),
        }
        if items is not None:
            environment["BENCHMARKS_ITEMS"] = str(items)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *self.options]
        run = ended(command, folder=self.folder, environment=environment)
        if run.status not in (0, 1) or sum(counts(run.output)) == 0:
            raise RuntimeError(f"{' '.join(command)} ended with status {run.status}:\n{run.output[-2000:]}")
        return run


def counts(output: str) -> tuple[int, int]:
    """How many items passed and how many failed, by pytest's last line."""
    last = (output.strip().splitlines() or [""])[-1]
    passed, failed = (re.search(rf"\b(\d+) {word}", last) for word in ("passed", "failed"))
    return int(passed[1]) if passed else 0, int(failed[1]) if failed else 0


def session_seconds(output: str) -> float:
    """The seconds of the session, from collection to the end of the summary, by pytest's last line."""
    found = re.search(r" in (\d+\.\d+)s", (output.strip().splitlines() or [""])[-1])
    if found is None:
        raise ValueError(f"expected pytest's last line to end in its seconds, got {output[-200:]!r}")
    return float(found[1])


def items(setting: Setting) -> Iterator[Section]:
    """One pytest item per image: PGD against torchattacks image by image; clean and blends against one bare loop."""
    chosen = material()
    project = _Project(setting, chosen.classifier, setting.scratch / "judged")
    n = copy_images(chosen.images, project.images, per_class=setting.sizes.per_class)
    about = f"{chosen.title}, {n} items, {setting.where}"
    yield _pgd_items(project, f"b. one item per image, PGD, 20 steps: {about}")
    yield _cheap_items(project, f"b. one item per image, clean and {len(LEVELS)} blends: {about}", n)
    yield _known_items(setting)


@dataclass(frozen=True)
class _Project:
    """What the suites of a run have in common."""

    setting: Setting
    classifier: Classifier
    images: Path

    def ours(self, name: str, tests: str, *, conftest: str = "") -> Suite:
        """A suite of items of this package, on the project's classifier and images or those of a conftest; nothing kept from runs before."""
        conftest = conftest or _OURS.format(classifier=self.classifier, images=str(self.images))
        options = ["-p", "robustness", f"--robustness-device={self.setting.device}", "--robustness-no-cache"]
        return self.plain(name, tests, conftest=conftest, options=options)

    def plain(self, name: str, tests: str, *, conftest: str = "", options: Sequence[str] = ()) -> Suite:
        """A suite that does without this package."""
        folder = self.setting.scratch / f"suite-{name}"
        return Suite.written(folder, options=options, threads=self.setting.threads, conftest=conftest, tests=tests)

    def measured(self, runs: "_Runs") -> "_Found":
        """All of them in rounds. What is short runs once before: it warms the machine, and writes bytecode for the whole suites."""
        for (_, part), run in runs.items():
            if part != "whole":
                run()
        return interleaved(runs, self.setting.repeats)


def _pgd_items(project: _Project, title: str) -> Section:
    rows: list[Row | Headline] = []
    notes = []
    for epsilon, target in ((8, Target(">=", 25)), (0.5, Target(">=", 8))):
        values = {"epsilon": epsilon / 255, "step": 2.5 / STEPS * epsilon / 255, "steps": STEPS}
        suites = {"pytest-robustness": project.ours(f"ours-{epsilon}", _OUR_PGD.format(**values))}
        rows.append(Headline(f"epsilon {epsilon:g}/255"))
        if installed("torchattacks"):
            own = {"classifier": project.classifier, "images": str(project.images), "device": project.setting.device}
            suites["torchattacks"] = project.plain(f"torchattacks-{epsilon}", _PEER_PGD.format(**values, **own))
        else:
            rows.append(Row("torchattacks", remark="not installed"))
        found = project.measured({key: run for name, suite in suites.items() for key, run in _both(name, suite)})
        peer = _without_start(found, "torchattacks") if "torchattacks" in suites else None
        for name in reversed(suites):
            figure = _without_start(found, name)
            ratio = None if peer is None else peer.over(figure)
            rows.append(Row(name, figure, ratio, target if name == "pytest-robustness" else None))
            rows.append(Row("  start-up, taken off", _seconds(found[name, "whole"]).minus(figure)))
            passed, failed = counts(found[name, "whole"][0].output)
            notes.append(f"epsilon {epsilon:g}/255, {name}: {passed} of {passed + failed} items passed.")
    ratio_to = "torchattacks' seconds, image by image, over the row's; start-up taken off both"
    return Section(title, ratio_to, project.setting.judged(rows), notes=notes)


def _known_items(setting: Setting) -> Section:
    """What an item that looks its answer up costs more than one that does nothing, passing and failing."""
    n = setting.sizes.items
    folder = setting.scratch / "grey"
    image, black = folder / "grey.png", folder / "black.png"
    with Worker(threads=1) as artist:
        artist.call(draw_grey, image, 127)
        artist.call(draw_grey, black, 0)
    project = _Project(setting, material().classifier, folder)
    conftest = _COPIES.format(image=str(image), n=n)
    rows: list[Row | Headline] = []
    for headline, alpha in (("passing", 0.05), ("failing", 0.9)):
        tests = _KNOWN.format(overlay=str(black), alpha=alpha)
        suites = {
            "pytest alone": project.plain(f"bare-{headline}", _BARE.format(n=n, holds=alpha < 0.5), conftest=_TORCH),
            "pytest-robustness": project.ours(f"known-{headline}", tests, conftest=conftest),
        }
        found = project.measured({key: run for name, suite in suites.items() for key, run in _both(name, suite)})
        bare, ours = (_without_start(found, name).scaled(1e6 / n) for name in suites)
        allowed = Figure((60.0,) * setting.repeats)
        rows += [
            Headline(headline),
            Row("pytest alone", bare),
            Row("pytest-robustness", ours),
            Row("  more", ours.minus(bare), ours.minus(bare).over(allowed), Target("<=", 1)),
        ]
    title = f"b. what an item costs that looks its answers up at 10 levels of a blend, {n} items"
    # The classifier and the device have no part in it.
    judged = rows if setting.sizes is FULL else setting.judged(rows)
    return Section(title, "what it costs more, over the 60 us that it may", judged, unit="us/item")


_CHEAP: Mapping[Stress, str] = {"clean": "clean images", "blend": f"{len(LEVELS)} levels of a blend"}
_Runs = Mapping[tuple[str, str], Callable[[], Ended]]
_Found = Mapping[tuple[str, str], Sequence[Ended]]


def _cheap_items(project: _Project, title: str, n: int) -> Section:
    """Against the loop on tensors that are there already; and once more less what pytest takes for empty items."""
    level = {"overlay": str(OVERLAY), "alpha": LEVELS[-1], "levels": len(LEVELS) - 1}
    suites = {
        "clean": project.ours("ours-clean", _OUR_CLEAN),
        "blend": project.ours("ours-blend", _OUR_BLENDS.format(**level)),
        "empty": project.plain("empty", _EMPTY.format(n=n), conftest=_TORCH),
    }
    with Worker(threads=project.setting.threads) as worker:
        runs = {key: run for name, suite in suites.items() for key, run in _both(name, suite)}
        for stress in _CHEAP:
            job = Job(project.classifier, project.images, project.setting.device, stress)
            runs[stress, "loop"] = functools.partial(_bare, worker, job)
        found = project.measured(runs)
    empty = _without_start(found, "empty")
    rows: list[Row | Headline] = []
    for stress, headline in _CHEAP.items():
        bare, ours = _seconds(found[stress, "loop"]), _without_start(found, stress)
        rows += [
            Headline(headline),
            Row("loop by hand", bare, bare.over(bare)),
            Row("pytest-robustness", ours, ours.over(bare), Target("<=", 1)),
            Row("  less empty items", ours.minus(empty), ours.minus(empty).over(bare)),
            Row("  start-up, taken off", _seconds(found[stress, "whole"]).minus(ours)),
        ]
    rows += [Headline("empty items"), Row("pytest alone", empty)]
    ratio_to = "seconds over those of one batched loop on tensors; start-up taken off the items"
    return Section(title, ratio_to, project.setting.judged(rows))


def _both(name: str, suite: Suite) -> Iterator[tuple[tuple[str, str], Callable[[], Ended]]]:
    """The suite whole, and with its first item only."""
    yield (name, "whole"), suite.run
    yield (name, "first"), functools.partial(suite.run, items=1)


def _bare(worker: Worker, job: Job) -> Ended:
    return Ended(worker.call(contend, "by hand", job).seconds, 0.0, 0, "")


def _seconds(runs: Sequence[Ended]) -> Figure:
    return Figure(tuple(run.seconds for run in runs))


def _without_start(found: _Found, name: str) -> Figure:
    whole, first = (
        Figure(tuple(session_seconds(run.output) for run in found[name, part])) for part in ("whole", "first")
    )
    return whole.minus(first)


def start(setting: Setting) -> Iterator[Section]:
    """A suite of one trivial test, with the plugin installed and without it."""
    tests = "def test_arithmetic():\n    assert 1 + 1 == 2\n"
    runs = {}
    for name, option in (("without the plugin", "no:robustness"), ("with the plugin", "robustness")):
        folder = setting.scratch / f"suite-{option.replace(':', '-')}"
        suite = Suite.written(folder, options=["-p", option], threads=setting.threads, conftest="", tests=tests)
        runs[name] = suite.run
        suite.run()
    # Half a second each: more rounds cost little, and the difference is small.
    found = interleaved(runs, 4 * setting.repeats)
    without = found["without the plugin"]
    title = "c. start-up of an unrelated suite, one trivial test, no other plugin"
    rows = [Row(name, _seconds(ends), _seconds(ends).over(_seconds(without))) for name, ends in found.items()]
    yield Section(title, "seconds over those without the plugin", rows)
    peaks = {name: Figure(tuple(run.megabytes for run in ends)) for name, ends in found.items()}
    rows = [Row(name, peak, peak.over(peaks["without the plugin"])) for name, peak in peaks.items()]
    yield Section(title, "peak memory over that without the plugin", rows, unit="MB")
