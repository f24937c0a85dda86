"""The pytest layer: options, fixtures, per-image items, and results on their way to the reports.

Nothing heavy is imported here: torch and everything above it load when the first robustness fixture is used.
"""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_robustness.choosing import clean_ids, marked, matching
from pytest_robustness.config import hooks
from pytest_robustness.distribution import Company, Distribution
from pytest_robustness.keeping import Keeping
from pytest_robustness.replaying import Replaying
from pytest_robustness.reporting import (
    NO_IMAGES,
    NO_MODEL,
    NOTHING,
    add_command,
    nothing,
    quiet,
    record,
    sentences,
    verdicts,
)
from pytest_robustness.session import Session
from pytest_robustness.settings import Settings, add_options
from pytest_robustness.sharing import Sharing, by_pairs

if TYPE_CHECKING:
    from pytest_robustness.engine import Engine
    from pytest_robustness.explanations import Explainer
    from pytest_robustness.image_sets import ImageSet, LabelledImage
    from pytest_robustness.robustness import Robustness


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


_SESSION = pytest.StashKey[Session]()
_ROBUSTNESS = pytest.StashKey["Robustness"]()
_IMAGES = pytest.StashKey["dict[object, tuple[object, ImageSet]]"]()
_ALIKE = pytest.StashKey["_Alike"]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "robustness(images='elephant/*', waive={'repeatable': 'randomised on purpose'}, shard='pairs'): images: which images of "
        "robustness_images a test with robustness_image runs on, a pattern or a list of patterns over the images' ids (their "
        "paths inside the set); waive: which checks of an attack don't count, each with the reason; shard: the test runs on "
        "every shard, each time with the pairs of the shard's images",
    )
    replaying = Replaying(config, Settings.of(config, hooks.written(config)))
    settings = replaying.settings
    distribution = Distribution(config, whole_chunks=settings.whole_chunks)
    sharing = None if settings.shard is None else Sharing(config, settings.shard)
    keeping = Keeping(config, settings)
    session = Session(config, settings, distribution, keeping, replaying, sharing)
    config.stash[_SESSION] = session
    config.stash[_IMAGES] = {}
    config.pluginmanager.register(hooks, "robustness-gate-files")
    config.pluginmanager.register(distribution, "robustness-distribution")
    # Before the session, so that they are shown behind it.
    config.pluginmanager.register(replaying, "robustness-replaying")
    config.pluginmanager.register(keeping, "robustness-keeping")
    if sharing is not None:
        # Before the session, which asks it at the end.
        config.pluginmanager.register(sharing, "robustness-sharing")
    config.pluginmanager.register(session, "robustness-session")
    session.add_page()


@pytest.fixture(scope="session")
def robustness_model() -> Any:
    """The model to judge: override it. RGB in [0, 1], (n, 3, h, w) -> logits (n, k)."""
    from pytest_robustness.errors import InputError

    raise InputError(NO_MODEL)


@pytest.fixture(scope="session")
def robustness_images() -> Any:
    """The images to judge it on: override it with an ImageSet, a dataset, or the path of a folder, a manifest or a tar.

    It is called when tests are collected, to make one item per image, so it may take no argument but
    pytestconfig.
    """
    from pytest_robustness.errors import InputError

    raise InputError(NO_IMAGES)


@pytest.fixture(scope="session")
def robustness_device(pytestconfig: pytest.Config) -> str:
    """The device that models run on, as torch writes it: `cpu`, `cuda:0`, `mps`.

    Where the option leaves open which of several CUDA devices, the workers of pytest-xdist take turns.
    """
    from pytest_robustness.devices import resolve_device

    session = pytestconfig.stash[_SESSION]
    name = session.settings.device
    device = resolve_device(name)
    required = session.settings.require_device
    if required and device.type != required:
        from pytest_robustness.errors import InputError

        raise InputError(
            f"--robustness-require-device: expected a device of type {required}, got {device}; run where there is one, or leave it out"
        )
    if device.type == "cuda" and name in ("auto", "cuda") and session.distribution.is_worker:
        import torch

        return f"cuda:{session.distribution.index % torch.cuda.device_count()}"
    return str(device)


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
    return _made(request.node, robustness_model, robustness_images, robustness_device, robustness_seed)


def _made(item: pytest.Item, model: Any, images: Any, device: str, seed: int) -> "Robustness":
    """The item's `Robustness`, one for all who ask for it."""
    from pytest_robustness.robustness import Robustness
    from pytest_robustness.views import Album

    if _ROBUSTNESS not in item.stash:
        session = item.config.stash[_SESSION]
        trust = session.trust(model, _image_set(item.config, images), device, seed)
        alike = item.stash.get(_ALIKE, None)
        around = None if alike is None else functools.partial(_around, alike.company, trust.engine)
        # A picture of an attacked image costs another attack.
        pictured = session.settings.paged or bool({"report", "json"} & set(session.settings.files))
        most = session.gallery.allowance(item.nodeid) if pictured else 0
        album = Album(limit=most, per_claim=most)
        waive = marked(item).get("waive")
        fast = session.settings.fast
        shard = session.settings.shard if by_pairs(item) else None
        profile = session.settings.profile
        item.stash[_ROBUSTNESS] = Robustness(
            trust.engine,
            company=around,
            album=album,
            fast=fast,
            waive=waive,
            trust=trust,
            shard=shard,
            explain=session.settings.explain,
            by=_explainer(session.settings.explain_by),
            baseline=session.keeping.baseline(item.nodeid),
            confidence=profile.confidence,
            sample=session.replaying.sample or functools.partial(profile.sample, seed=seed),
        )
    return item.stash[_ROBUSTNESS]


def _explainer(name: str) -> "Explainer | None":
    """The explainer of this name, None for the one that suits the model."""
    from pytest_robustness import explanations

    made = {
        "grad-cam": explanations.GradCAM,
        "rollout": explanations.AttentionRollout,
        "lime": explanations.Lime,
        "anchors": explanations.Anchors,
    }
    return made[name]() if name in made else None


def _around(company: Company, engine: "Engine", image_id: str, question: tuple[Any, ...]) -> Sequence[str]:
    return company.around(image_id, question, size=lambda: engine.chunk_size(question[0]))


class _Alike:
    """What the items of one test have in common that differ in their image only.

    `lasting` are the fixtures behind `robustness`, where their values hold for the whole session whatever the
    image; empty where they may not.
    """

    def __init__(self, item: pytest.Item) -> None:
        self.company = Company()
        self.lasting = _lasting(item)


def _lasting(item: pytest.Item) -> "Mapping[str, pytest.FixtureDef[Any]]":
    definitions: Mapping[str, Sequence[pytest.FixtureDef[Any]]] = item._fixtureinfo.name2fixturedefs  # type: ignore[attr-defined]
    parameters = item.callspec.params  # type: ignore[attr-defined]
    # Of a parameter given as it is, pytest makes a fixture of its own.
    image = definitions["robustness_image"][-1].func.__module__
    if definitions["robustness"][-1].func.__module__ != __name__ or not image.startswith("_pytest."):
        return {}
    found: dict[str, pytest.FixtureDef[Any]] = {}
    open_names = [name for name in definitions["robustness"][-1].argnames if name != "request"]
    while open_names:
        name = open_names.pop()
        if name in found or name == "request":
            continue
        for definition in definitions[name]:
            if definition.scope != "session" or definition.params is not None or name in parameters:
                return {}
            open_names += definition.argnames
        found[name] = definitions[name][-1]
    return found


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    # What a rerun of the item finds of the time before.
    item.stash.setdefault(_ROBUSTNESS, None)  # type: ignore[misc]
    del item.stash[_ROBUSTNESS]
    alike = item.stash.get(_ALIKE, None)
    if alike is None or not alike.lasting or item.config.getoption("setupshow", False):
        return
    # pytest takes 0.2 ms to find six fixtures that did not change since the item before.
    values = {}
    for name, definition in alike.lasting.items():
        result = definition.cached_result
        if result is None or result[2] is not None:
            return
        values[name] = result[0]
    own = (values[f"robustness_{name}"] for name in ("model", "images", "device", "seed"))
    item.funcargs.update(  # type: ignore[attr-defined]
        values,
        request=item._request,  # type: ignore[attr-defined]
        robustness_image=item.callspec.params["robustness_image"],  # type: ignore[attr-defined]
        robustness=_made(item, *own),
    )


def _image_set(config: pytest.Config, given: Any) -> "ImageSet":
    """What `robustness_images` returned as an ImageSet: the same one for the same path or dataset."""
    from pytest_robustness.image_sets import ImageSet
    from pytest_robustness.image_sources import image_source

    if isinstance(given, ImageSet):
        return given
    known = config.stash[_IMAGES]
    # Not every dataset has a hash. It is held on to, so that no other object takes its id.
    key = str(given) if isinstance(given, (str, os.PathLike)) else ("id", id(given))
    if key not in known:
        known[key] = given, image_source(given)
    return known[key][1]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if not {"robustness", "robustness_image"} & set(metafunc.fixturenames):
        return
    from pytest_robustness.errors import InputError

    definitions: dict[str, Sequence[pytest.FixtureDef[Any]]] = metafunc._arg2fixturedefs
    own = definitions.get("robustness_image", ())
    try:
        said = marked(metafunc.definition)
        if not own or own[-1].func.__module__ != __name__:
            return
        images = _collected_images(metafunc.config, definitions["robustness_images"][-1].func)
        chosen = _sampled(metafunc.config, matching(images, metafunc.definition.name, said))
    except InputError as error:
        raise pytest.Collector.CollectError(str(error)) from None
    metafunc.parametrize("robustness_image", chosen, ids=clean_ids(chosen))


def _sampled(config: pytest.Config, images: "list[LabelledImage]") -> "list[LabelledImage]":
    """Those of the images that the profile looks at."""
    settings = config.stash[_SESSION].settings
    kept = set(settings.profile.sample([image.id for image in images], settings.seed))
    return [image for image in images if image.id in kept]


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
        known[fixture] = fixture, _image_set(config, fixture(*([config] if arguments else [])))
    return known[fixture][1]


def _company_key(item: pytest.Item) -> object:
    """What items have in common that differ in their image only."""
    callspec = getattr(item, "callspec", None)
    others = () if callspec is None else ((k, v) for k, v in callspec.indices.items() if k != "robustness_image")
    return item.nodeid.partition("[")[0], tuple(sorted(others))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    # Only now it is known which items run: an image that was deselected is never paid for. First of all, so that
    # the chunks are known before pytest-xdist tells its controller what was collected.
    tests: dict[object, _Alike] = {}
    seats: list[tuple[Company, str] | None] = []
    for item in session.items:
        callspec = getattr(item, "callspec", None)
        if callspec is None or "robustness_image" not in callspec.params or "robustness" not in _fixtures(item):
            seats.append(None)
            continue
        key = _company_key(item)
        if key not in tests:
            tests[key] = _Alike(item)
        item.stash[_ALIKE] = tests[key]
        image_id = getattr(callspec.params["robustness_image"], "id", "")
        tests[key].company.add(image_id)
        seats.append((tests[key].company, image_id))
    ours = session.config.stash[_SESSION]
    ours.distribution.announce(seats, lambda: _together(ours.settings))


def _together(settings: Settings) -> int:
    """The most images of a chunk under pytest-xdist, where no worker can ask the others for their batch size."""
    if settings.batch_size != "auto":
        return settings.batch_size
    from pytest_robustness.devices import resolve_device
    from pytest_robustness.errors import InputError

    try:
        return 32 if resolve_device(settings.device).type == "cpu" else 256
    except InputError:
        # Told where the device is needed.
        return 32


def _fixtures(item: pytest.Item) -> Sequence[str]:
    return getattr(item, "fixturenames", ())


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    made = item.stash.get(_ROBUSTNESS, None)
    if made is None and "robustness" not in _fixtures(item):
        return (yield)
    told = None
    if call.excinfo is not None and item.config.getoption("tbstyle") not in ("long", "native"):
        told = sentences(item, call.excinfo, made, replay=item.config.stash[_SESSION].replaying.options)
    if told is None:
        report = yield
        add_command(item, call, report, made)
    else:
        # Asked instead of pytest's own: a traceback that nobody will see costs milliseconds.
        item.repr_failure = lambda excinfo, style=None: told  # type: ignore[method-assign]
        try:
            report = yield
        finally:
            del item.repr_failure
        if report.failed:
            # Of a fixture's errors pytest makes the traceback all the same.
            report.longrepr = told
    carried = ""
    if report.when == "call" or report.failed:
        if made is not None and made.shard is not None and call.excinfo is None and report.failed:
            # A strict xfail that did not fail: whether it does is known when the shards are merged.
            report.outcome, report.longrepr = "passed", None
            report.wasxfail = ""
        found = verdicts(item, call, made, failed=report.failed, xfail=hasattr(report, "wasxfail"))
        if report.passed and not hasattr(report, "wasxfail") and (empty := nothing(item, made)):
            found, report.outcome, report.longrepr = empty, "failed", NOTHING
        if found:
            runs = [] if made is None else [made.engine.provenance]
            carried = item.config.stash[_SESSION].conclude(item.nodeid, found, runs)
        if item.config.getoption("xmlpath", None):
            record(item, report, found)
    report.robustness = carried  # type: ignore[attr-defined]
    return report


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[None, str, str] | None:
    # Reports of no category are printed no more than those of pytest's category "", and are in --durations as well.
    return (None, "", "") if hasattr(report, "robustness") and quiet(report) else None


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
