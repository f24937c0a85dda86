"""The pytest layer: options, fixtures, per-image items, and results on their way to the reports.

Nothing heavy is imported here: torch and everything above it load when the first robustness fixture is used.
"""

import collections
import dataclasses
import fnmatch
import functools
import inspect
import math
import os
import re
import shlex
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_robustness.session import Company, Session, Settings, add_options, is_worker

if TYPE_CHECKING:
    from _pytest._code.code import ReprExceptionInfo

    from pytest_robustness.loading import ImageSet, LabelledImage
    from pytest_robustness.measurements import Accuracy, BreakingPoint
    from pytest_robustness.records import Verdict
    from pytest_robustness.robustness import Robustness

_NO_MODEL = """no model to judge: define the fixture robustness_model in conftest.py, for example
    @pytest.fixture(scope="session")
    def robustness_model():
        return my_project.load_model()  # nn.Module, RGB in [0, 1] (n, 3, h, w) -> logits (n, k)"""
_NO_IMAGES = """no images to judge the model on: define the fixture robustness_images in conftest.py, for example
    @pytest.fixture(scope="session")
    def robustness_images():
        return image_folder("path/to/images")  # one folder per class; from pytest_robustness import image_folder"""


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


_SESSION = pytest.StashKey[Session]()
_ROBUSTNESS = pytest.StashKey["Robustness"]()
_IMAGES = pytest.StashKey["dict[object, ImageSet]"]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "robustness(images='elephant/*'): which images of robustness_images a test with robustness_image runs on, "
        "a pattern or a list of patterns over the images' ids (their paths inside the set)",
    )
    session = Session(config, Settings.of(config))
    config.stash[_SESSION] = session
    config.stash[_IMAGES] = {}
    config.pluginmanager.register(session, "robustness-session")


@pytest.fixture(scope="session")
def robustness_model() -> Any:
    """The model to judge: override it. RGB in [0, 1], (n, 3, h, w) -> logits (n, k)."""
    from pytest_robustness.errors import InputError

    raise InputError(_NO_MODEL)


@pytest.fixture(scope="session")
def robustness_images() -> Any:
    """The images to judge it on: override it with an ImageSet or the path of a folder of class folders.

    It is called when tests are collected, to make one item per image, so it may take no argument but
    pytestconfig.
    """
    from pytest_robustness.errors import InputError

    raise InputError(_NO_IMAGES)


@pytest.fixture(scope="session")
def robustness_device(pytestconfig: pytest.Config) -> str:
    """The device that models run on, as torch writes it: `cpu`, `cuda:0`, `mps`."""
    from pytest_robustness.engine import resolve_device

    return str(resolve_device(pytestconfig.stash[_SESSION].settings.device))


@pytest.fixture(scope="session")
def robustness_seed(pytestconfig: pytest.Config) -> int:
    """The seed of all noise."""
    return pytestconfig.stash[_SESSION].settings.seed


@pytest.fixture
def robustness_image(robustness_images: Any) -> "LabelledImage":
    """One image of the set: a test that asks for it becomes one item per image."""
    raise AssertionError("robustness_image is parametrized when tests are collected")


@pytest.fixture
def robustness(
    request: pytest.FixtureRequest,
    robustness_model: Any,
    robustness_images: Any,
    robustness_device: str,
    robustness_seed: int,
) -> "Robustness":
    """Measurements and assertions over the model and the images; see `pytest_robustness.Robustness`."""
    from pytest_robustness.robustness import Robustness

    session = request.config.stash[_SESSION]
    images = _image_set(request.config, robustness_images)
    engine = session.engine(robustness_model, images, robustness_device, robustness_seed)
    company = session.companies.get(_company_key(request.node))
    made = Robustness(
        engine,
        company=None if company is None else functools.partial(company.around, size=engine.batch_size),
        album=session.album,
    )
    request.node.stash[_ROBUSTNESS] = made
    return made


def _image_set(config: pytest.Config, given: Any) -> "ImageSet":
    """What `robustness_images` returned as an ImageSet: the same one for the same path."""
    from pytest_robustness.errors import InputError
    from pytest_robustness.loading import ImageSet, image_folder

    if isinstance(given, ImageSet):
        return given
    if isinstance(given, (str, os.PathLike)):
        known = config.stash[_IMAGES]
        if given not in known:
            known[given] = image_folder(Path(given))
        return known[given]
    raise InputError(
        f"robustness_images: expected an ImageSet or the path of a folder, got {type(given).__name__}; "
        "return image_folder('path/to/images')"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "robustness_image" not in metafunc.fixturenames:
        return
    definitions: dict[str, Sequence[pytest.FixtureDef[Any]]] = metafunc._arg2fixturedefs
    own = definitions.get("robustness_image", ())
    if not own or own[-1].func.__module__ != __name__:
        return
    from pytest_robustness.errors import InputError

    try:
        images = _collected_images(metafunc.config, definitions["robustness_images"][-1].func)
        chosen = _matching(images, metafunc.definition)
    except InputError as error:
        raise pytest.Collector.CollectError(str(error)) from None
    metafunc.parametrize("robustness_image", chosen, ids=_clean_ids(chosen))


def _collected_images(config: pytest.Config, fixture: Callable[..., Any]) -> "ImageSet":
    """The images of a `robustness_images` fixture, asked before fixtures run: items have to be made now."""
    from pytest_robustness.errors import InputError

    known = config.stash[_IMAGES]
    if fixture not in known:
        arguments = list(inspect.signature(fixture).parameters)
        if set(arguments) - {"pytestconfig"} or inspect.isgeneratorfunction(fixture):
            what = "yields" if inspect.isgeneratorfunction(fixture) else f"asks for {', '.join(arguments)}"
            file = Path(inspect.getfile(fixture)).name
            raise InputError(
                f"{file}: expected robustness_images to return its images and to ask for nothing but pytestconfig, because "
                f"it is called when tests are collected; this one {what}"
            )
        known[fixture] = _image_set(config, fixture(*([config] if arguments else [])))
    return known[fixture]


def _matching(images: "ImageSet", definition: pytest.Item) -> "list[LabelledImage]":
    """The images that the test's markers choose; the nearest marker that names images wins."""
    from pytest_robustness.errors import InputError

    chosen: dict[str, Any] = {}
    for marker in reversed(list(definition.iter_markers("robustness"))):
        chosen |= marker.kwargs
        if marker.args or set(marker.kwargs) - {"images"}:
            got = ", ".join([*map(repr, marker.args), *(f"{k}={v!r}" for k, v in marker.kwargs.items())])
            raise InputError(
                f"{definition.name}: expected @pytest.mark.robustness(images='pattern'), got robustness({got})"
            )
    patterns = chosen.get("images", "*")
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    matching = [image for image in images.images if any(fnmatch.fnmatchcase(image.id, p) for p in patterns)]
    if not matching:
        raise InputError(
            f"{definition.name}: expected images={chosen['images']!r} to match one of the {len(images)} images of {images.name}, "
            f"it matches none; ids look like {images.images[0].id!r}"
        )
    return matching


def _clean_ids(images: "Sequence[LabelledImage]") -> list[str]:
    """Test ids: the file's stem where it is unique, else the path inside the set; letters, digits, `_`, `.`, `-`."""
    stems = collections.Counter(image.path.stem for image in images)
    wanted = [i.path.stem if stems[i.path.stem] == 1 else i.id.removesuffix(i.path.suffix) for i in images]
    cleaned = [re.sub(r"[^A-Za-z0-9_.-]+", "-", name) or "image" for name in wanted]
    twice = {name for name, count in collections.Counter(cleaned).items() if count > 1}
    return [f"{name}-{place}" if name in twice else name for place, name in enumerate(cleaned)]


def _company_key(item: pytest.Item) -> object:
    """What items have in common that differ in their image only."""
    callspec = getattr(item, "callspec", None)
    others = () if callspec is None else ((k, v) for k, v in callspec.indices.items() if k != "robustness_image")
    return item.nodeid.partition("[")[0], tuple(sorted(others))


def pytest_collection_finish(session: pytest.Session) -> None:
    # Only now it is known which items run: an image that was deselected is never paid for.
    companies = session.config.stash[_SESSION].companies
    for item in session.items:
        callspec = getattr(item, "callspec", None)
        if callspec is not None and "robustness_image" in callspec.params and "robustness" in _fixtures(item):
            company = companies.setdefault(_company_key(item), Company())
            company.add(getattr(callspec.params["robustness_image"], "id", ""))


def _fixtures(item: pytest.Item) -> Sequence[str]:
    return getattr(item, "fixturenames", ())


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    asked = "robustness" in _fixtures(item) or _ROBUSTNESS in item.stash
    told = _told(item, call) if asked and item.config.getoption("tbstyle") not in ("long", "native") else None
    if told is not None:
        # Asked instead of pytest's own: a traceback that nobody will see costs milliseconds.
        item.repr_failure = lambda excinfo, style=None: told  # type: ignore[method-assign]
    report = yield
    if told is not None and report.failed:
        # Of a fixture's errors pytest makes the traceback all the same.
        report.longrepr = told
    if asked and (report.when == "call" or report.failed):
        verdicts = _verdicts(item, call, report)
        if verdicts:
            _hand_over(item, report, verdicts)
    return report


def _verdicts(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> "list[Verdict]":
    """The item's gates; a rule of its own over measurements, or an error, is one more."""
    made = item.stash.get(_ROBUSTNESS, None)
    verdicts = list(made.verdicts) if made is not None else []
    raised = None if call.excinfo is None else call.excinfo.value
    if isinstance(raised, pytest.skip.Exception):
        return []
    gate_failed = any(verdict.status != "pass" for verdict in verdicts)
    if raised is not None and not isinstance(raised, AssertionError):
        verdicts.append(_error(item, raised))
    elif not gate_failed and (raised is not None or (made is not None and made.measurements)):
        verdicts.append(_own_rule(item, raised, made.measurements if made is not None else []))
    run = made.engine.provenance.key if made is not None and verdicts else ""
    # What a test expects to fail, by xfail or by catching it, is told apart from a failure.
    return [
        dataclasses.replace(v, test=item.nodeid, run=run, expected=v.status != "pass" and not report.failed)
        for v in verdicts
    ]


def _error(item: pytest.Item, raised: BaseException) -> "Verdict":
    from pytest_robustness.errors import InputError
    from pytest_robustness.records import Verdict

    kind = "" if isinstance(raised, InputError) else f"{type(raised).__name__}: "
    return Verdict(gate="error", claim=item.name, status="error", reason=f"{kind}{raised}")


def _own_rule(
    item: pytest.Item, raised: BaseException | None, measurements: "Sequence[Accuracy | BreakingPoint]"
) -> "Verdict":
    from pytest_robustness.records import Verdict

    lines = [] if raised is None else [str(raised).partition("\n")[0]]
    # Of several measurements none is the one that the rule is about.
    only = float(measurements[0]) if len(measurements) == 1 else math.inf
    return Verdict(
        gate="own-rule",
        claim=f"the rule of {item.name}",
        status="pass" if raised is None else "fail",
        reason="\n".join(lines + [repr(measurement) for measurement in measurements]),
        measured=only if math.isfinite(only) else None,
    )


def _hand_over(item: pytest.Item, report: pytest.TestReport, verdicts: "list[Verdict]") -> None:
    """Keep the verdicts, or let the report carry them to the controller of a distributed run as one string."""
    session = item.config.stash[_SESSION]
    made = item.stash.get(_ROBUSTNESS, None)
    runs = [] if made is None else [made.engine.provenance]
    if not is_worker(item.config):
        session.keep(report.nodeid, verdicts, runs)
        return
    from pytest_robustness.records import Results

    # Exact builtins only: anything else in a report kills the worker's serialiser. A provenance is sent once.
    unsent = tuple(run for run in runs if run.key not in session.runs)
    session.keep(report.nodeid, [], runs)
    report.robustness = Results(tuple(verdicts), unsent).to_json()  # type: ignore[attr-defined]


def _told(item: pytest.Item, call: pytest.CallInfo[None]) -> "ReprExceptionInfo | None":
    """A failed gate or refused input as its sentences: a traceback through our code would hide them."""
    if call.excinfo is None:
        return None
    from _pytest._code.code import ReprEntryNative, ReprExceptionInfo, ReprFileLocation, ReprTraceback

    from pytest_robustness.errors import InputError
    from pytest_robustness.gates import GateFailed

    raised = call.excinfo.value
    if not isinstance(raised, (GateFailed, InputError)):
        return None
    lines = str(raised).splitlines()
    frames = [frame for frame in call.excinfo.traceback if _is_users(Path(frame.path), item)]
    lineno = frames[-1].lineno + 1 if frames else 1
    if frames:
        lines.append(f"at {Path(frames[-1].path).name}:{lineno}")
    if isinstance(raised, GateFailed):
        seed = item.stash[_ROBUSTNESS].engine.seed
        lines.append(f"reproduce: pytest {shlex.quote(item.nodeid)} --robustness-seed={seed}")
    entry = ReprEntryNative([f"{line}\n" for line in lines])
    crash = ReprFileLocation(str(item.path), lineno, lines[0])
    return ReprExceptionInfo(ReprTraceback([entry], None, "native"), crash)


def _is_users(path: Path, item: pytest.Item) -> bool:
    """Whether a frame is in the test itself or in a conftest that serves it, and not inside a library."""
    return path == item.path or (path.name == "conftest.py" and path.parent in item.path.parents)


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Explain a failed `assert` on a measurement."""
    measurements = sys.modules.get("pytest_robustness.measurements")
    if measurements is None:
        return None
    kinds = (measurements.Accuracy, measurements.BreakingPoint)
    if isinstance(left, kinds) and isinstance(right, float | int):
        return [f"{left!r} {op} {right!r}", *left.explain(float(right))]
    if isinstance(right, kinds) and isinstance(left, float | int):
        return [f"{left!r} {op} {right!r}", *right.explain(float(left))]
    return None
