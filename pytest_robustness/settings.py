"""The options of the command line and of the ini file, and what they come to.

Nothing heavy is imported here, as in the plugin.
"""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import pytest

from pytest_robustness.comparisons import Allowed, baseline_file
from pytest_robustness.errors import InputError
from pytest_robustness.formats import FORMATS
from pytest_robustness.profiles import PROFILES, Profile, chosen_profile
from pytest_robustness.shards import Shard

if TYPE_CHECKING:
    from pytest_robustness.judging import Explain
    from pytest_robustness.running import Precision

__all__ = ["OPTIONS", "Flag", "Option", "Settings", "Written", "add_options", "as_given"]


@dataclasses.dataclass(frozen=True)
class Option:
    """A setting that the command line knows as `--robustness-<name>` and the ini file as `robustness_<name>`."""

    name: str
    default: str
    metavar: str
    help: str


@dataclasses.dataclass(frozen=True)
class Flag:
    """A setting that is on or off: `--robustness-<name>` on the command line, true or false in the ini file."""

    name: str
    help: str


@dataclasses.dataclass(frozen=True)
class Written:
    """What a file of gates says of an option; `where` begins a sentence about it, and paths are relative to `folder`."""

    text: str
    where: str
    folder: Path


OPTIONS: tuple[Option | Flag, ...] = (
    Option(
        "profile",
        "ci",
        "NAME",
        "dev: a sample of the images, for a quick look; ci: all of them; release: all, judged at confidence 0.95, deterministic, "
        "without the cache",
    ),
    Option("device", "auto", "DEVICE", "device to run on: auto (CUDA, else MPS, else the CPU), cpu, cuda, cuda:1, mps"),
    Option("batch-size", "auto", "N", "images per batch, or auto: what suits the device and the size of the images"),
    Option("precision", "float32", "TYPE", "numbers that attacks search with: float32, tf32, bfloat16, float16"),
    Flag("compile", "compile the model with torch.compile, on CUDA only"),
    Flag("fast", "let an accuracy gate stop as soon as its verdict is certain"),
    Option("workers", "auto", "N", "threads that decode images, or auto: one on a CPU, up to eight elsewhere"),
    Flag("cache", "keep and use outcomes with --robustness-profile=release too"),
    Flag("no-cache", "keep no outcomes for the next run, and use none of the runs before"),
    Flag("cache-clear", "forget the outcomes of all runs before, at the start"),
    Option("xdist", "chunks", "HOW", "what pytest-xdist's --dist=load hands out: chunks of images, or load: any tests"),
    Option(
        "shard", "", "I/N", "run the I-th of N shares of the tests and images, to be joined by pytest_robustness merge"
    ),
    Option("require-device", "", "TYPE", "refuse to run on another kind of device than this: cpu, cuda or mps"),
    Option("min-gates", "0", "N", "fail a run that judged fewer gates than this"),
    Option(
        "explain", "failed", "WHAT", "explain in the report: failed (those pictured), all (what passed too) or none"
    ),
    Option("explain-by", "auto", "METHOD", "auto, grad-cam, rollout, lime or anchors"),
    Option("explain-most", "20", "N", "the most images that are pictured and explained in all"),
    Option("seed", "0", "N", "seed of all noise; with the image's id it decides every random number"),
    Option("baseline", "", "FILE|NAME", "compare with the results of the release before; created where there are none"),
    Flag("update-baseline", "put what this run measures into the baseline"),
    Flag("prune-baseline", "with --robustness-update-baseline, drop the tests that this run does not have"),
    Option("compare-fail", "", "DROPS", "fail on larger drops than these: accuracy:0.01,breaking_point:0.05"),
    Option("corpus", "", "FILE|off", "keep known failures in this file, without it in pytest's cache; off: nowhere"),
    Option("replay", "", "KEY", "run the test of one known failure, on its image alone and with its seed"),
    *(Option(known.name, "", "FILE", f"write {known.what} to this file") for known in FORMATS),
)

# Those that change what is measured, or what it is compared with.
_OF_RESULTS = ("profile", "device", "precision", "compile", "fast", "baseline", "replay")


def add_options(parser: pytest.Parser) -> None:
    """Every option once for the command line and once for the ini file."""
    group = parser.getgroup("robustness", "robustness of image classifiers")
    for option in OPTIONS:
        flag, ini = f"--robustness-{option.name}", _ini(option.name)
        if isinstance(option, Flag):
            group.addoption(flag, action="store_true", default=None, help=option.help)
            parser.addini(ini, option.help, type="bool", default=False)
        else:
            default = f" (default: {option.default})" if option.default else ""
            group.addoption(flag, default=None, metavar=option.metavar, help=option.help + default)
            parser.addini(ini, option.help + default, default=option.default)


def as_given(config: pytest.Config, *also: str) -> list[str]:
    """The options on the command line that results depend on, and those named, as they were given: with the ini file, they repeat it."""
    found = []
    for option in OPTIONS:
        given = config.getoption(f"--robustness-{option.name}") if option.name in (*_OF_RESULTS, *also) else None
        if given is not None:
            found.append(f"--robustness-{option.name}" + ("" if isinstance(option, Flag) else f"={given}"))
    return found


def _ini(name: str) -> str:
    return f"robustness_{name.replace('-', '_')}"


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"


@dataclasses.dataclass(frozen=True)
class Settings:
    """The options as they are meant: command line before files of gates before ini before default.

    `files` are by the name of their format. `paged` is whether pytest-html writes its page.
    """

    profile: Profile
    device: str
    batch_size: int | Literal["auto"]
    precision: "Precision"
    compiled: bool
    fast: bool
    workers: int | None
    cached: bool
    clear_cache: bool
    whole_chunks: bool
    shard: Shard | None
    require_device: str
    min_gates: int
    explain: "Explain"
    explain_by: str
    explain_most: int
    seed: int
    files: Mapping[str, Path]
    paged: bool
    baseline: Path | None = None
    update_baseline: bool = False
    prune_baseline: bool = False
    allowed: Allowed | None = None
    corpus: Path | Literal["off"] | None = None
    replay: str = ""

    @classmethod
    def of(cls, config: pytest.Config, written: Mapping[str, Written] | None = None) -> "Settings":
        files = {name: own for name, own in (written or {}).items() if config.getoption(f"--robustness-{name}") is None}

        def text(name: str) -> str:
            if name in files:
                return files[name].text.strip()
            given = config.getoption(f"--robustness-{name}")
            return str(config.getini(_ini(name)) if given is None else given).strip()

        def told(name: str) -> str:
            return files[name].where if name in files else f"--robustness-{name}"

        def number(name: str, least: int, *, auto: bool = False) -> int | None:
            value = text(name)
            if auto and value == "auto":
                return None
            try:
                if int(value) >= least:
                    return int(value)
            except ValueError:
                pass
            expected = "auto or a whole number" if auto else "a whole number"
            raise pytest.UsageError(f"{told(name)}: expected {expected} >= {least}, got {value!r}")

        def choice(name: str, *choices: str) -> str:
            value = text(name)
            if value not in choices:
                raise pytest.UsageError(f"{told(name)}: expected {_listed(choices)}, got {value!r}")
            return value

        def share(name: str) -> Shard | None:
            try:
                return Shard.parse(text(name)) if text(name) else None
            except ValueError as error:
                raise pytest.UsageError(f"{told(name)}: {error}") from None

        def drops(name: str) -> Allowed | None:
            try:
                return Allowed.parse(text(name)) if text(name) else None
            except InputError as error:
                raise pytest.UsageError(f"{told(name)}: {error}") from None

        def flag(name: str) -> bool:
            if name in files:
                return files[name].text == "true"
            try:
                return bool(config.getoption(f"--robustness-{name}") or config.getini(_ini(name)))
            except ValueError as error:
                raise pytest.UsageError(f"{_ini(name)}: expected true or false in the ini file; {error}") from None

        def file(name: str) -> Path | None:
            if not text(name):
                return None
            return origin(name) / text(name)

        def origin(name: str) -> Path:
            # As with pytest's own options: relative to where the option was written.
            if name in files:
                return files[name].folder
            given = config.getoption(f"--robustness-{name}") is not None
            return config.invocation_params.dir if given else config.rootpath

        named = chosen_profile(config.getoption("--robustness-profile"), text("profile"), os.environ)
        if named not in PROFILES:
            raise pytest.UsageError(f"{told('profile')}: expected {_listed(PROFILES)}, got {named!r}")
        profile = PROFILES[named]
        precision = choice("precision", "float32", "tf32", "bfloat16", "float16")
        if profile.deterministic and precision != "float32":
            raise pytest.UsageError(
                f"{told('precision')}: expected float32 with --robustness-profile={named}, got {precision}; leave one of them out"
            )
        baseline = text("baseline")
        settings = cls(
            profile=profile,
            device=text("device"),
            batch_size=number("batch-size", 1, auto=True) or "auto",
            precision=cast("Precision", precision),
            compiled=flag("compile"),
            fast=flag("fast"),
            workers=number("workers", 1, auto=True),
            cached=(profile.cached or flag("cache")) and not flag("no-cache"),
            clear_cache=flag("cache-clear"),
            whole_chunks=choice("xdist", "chunks", "load") == "chunks",
            shard=share("shard"),
            require_device=choice("require-device", "cpu", "cuda", "mps") if text("require-device") else "",
            min_gates=number("min-gates", 0) or 0,
            explain=cast("Explain", choice("explain", "failed", "all", "none")),
            explain_by=choice("explain-by", "auto", "grad-cam", "rollout", "lime", "anchors"),
            explain_most=number("explain-most", 0) or 0,
            seed=number("seed", 0) or 0,
            files={known.name: path for known in FORMATS if (path := file(known.name))},
            paged=config.pluginmanager.hasplugin("html") and bool(config.getoption("htmlpath", None)),
            baseline=baseline_file(baseline, root=config.rootpath, here=origin("baseline")) if baseline else None,
            update_baseline=flag("update-baseline"),
            prune_baseline=flag("prune-baseline"),
            allowed=drops("compare-fail"),
            corpus="off" if text("corpus") == "off" else file("corpus"),
            replay=text("replay"),
        )
        settings._check_together()
        return settings

    def _check_together(self) -> None:
        """Refuse options that make no sense with, or without, each other."""
        asked = {
            "update-baseline": self.update_baseline,
            "prune-baseline": self.prune_baseline,
            "compare-fail": self.allowed is not None,
        }
        for name, on in asked.items():
            if on and self.baseline is None:
                raise pytest.UsageError(
                    f"--robustness-{name}: expected a baseline, got none; name one with --robustness-baseline"
                )
        if self.prune_baseline and not self.update_baseline:
            raise pytest.UsageError(
                "--robustness-prune-baseline: expected --robustness-update-baseline beside it, got it alone; add it"
            )
        if self.shard is not None and self.baseline is not None:
            raise pytest.UsageError(
                f"--robustness-baseline: expected a whole run, got {self.shard.title}; leave it out and compare what is merged: python -m "
                f"pytest_robustness merge shard-*.json --output results.json && python -m pytest_robustness compare BASELINE results.json"
            )
        for name, on in (("update-baseline", self.update_baseline), ("shard", self.shard is not None)):
            if self.replay and on:
                raise pytest.UsageError(
                    f"--robustness-replay: expected no --robustness-{name} beside it, as it runs one image alone; leave one of them out"
                )
