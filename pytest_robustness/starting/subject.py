"""The model and the images that a first run is about: by their settings, loaded, and ready to be asked."""

import contextlib
import dataclasses
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO, cast, get_args

from pytest_robustness.cache import OutcomeStore
from pytest_robustness.config.documents import Document, read_sources
from pytest_robustness.engine import Engine
from pytest_robustness.errors import InputError
from pytest_robustness.image_sets import ImageSet
from pytest_robustness.image_sources import image_source
from pytest_robustness.models import LoadedModel, load_model
from pytest_robustness.pairing import paired
from pytest_robustness.progress import Progress
from pytest_robustness.records import path_text
from pytest_robustness.running import Precision
from pytest_robustness.settings import Written
from pytest_robustness.starting.trials import yaml_text

__all__ = ["How", "Subject", "asked", "declared_subject", "importable"]

# By which pytest knows the root of a project: https://docs.pytest.org/en/stable/reference/customize.html
_ROOTS = ("pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg", "setup.py")
_PRECISIONS = get_args(Precision)


@dataclass(frozen=True)
class Subject:
    """The settings of a model and of images by their names in a file of gates; empty where nobody said which."""

    model: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[str, Any] = field(default_factory=dict)

    def load_model(self) -> LoadedModel:
        """The model; InputError as `load_model`."""
        return load_model(**self.model)

    def load_images(self) -> ImageSet:
        """The images; InputError as `image_source`."""
        settings = {name: value for name, value in self.images.items() if name != "source"}
        return image_source(self.images["source"], **settings)

    def lines(self, section: Literal["model", "images"]) -> list[str]:
        """The settings of one of them as lines of YAML, `model: resnet18.pt2` where there is no more than a source."""
        settings: Mapping[str, Any] = getattr(self, section)
        if set(settings) == {"source"}:
            return [f"{section}: {_scalar(settings['source'])}"]
        return [f"{section}:", *(f"  {name}: {_scalar(value)}" for name, value in settings.items())]


def _scalar(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_scalar(own) for own in value)}]"
    if isinstance(value, Path):
        value = value.as_posix()
    return f"{value:g}" if isinstance(value, (int, float)) else yaml_text(str(value))


@dataclass(frozen=True)
class How:
    """How a model is asked: the options of a run that decide over numbers. Raises InputError for a seed below 0."""

    device: str = "auto"
    seed: int = 0
    batch_size: int | Literal["auto"] = "auto"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed: expected a whole number >= 0, got {self.seed}")

    def over(self, options: Mapping[str, Written]) -> "How":
        """The same, with what the options of a file say. Raises InputError, with file and line, for what they can't be."""
        changed: dict[str, Any] = {}
        for name, least in (("seed", 0), ("batch-size", 1)):
            if name in options and not (name == "batch-size" and options[name].text == "auto"):
                changed[name.replace("-", "_")] = _whole(options[name], least)
        if "device" in options:
            changed["device"] = options["device"].text
        if "precision" in options:
            own = options["precision"]
            if own.text not in _PRECISIONS:
                raise InputError(
                    f"{own.where}: expected {', '.join(_PRECISIONS[:-1])} or {_PRECISIONS[-1]}, got {own.text!r}"
                )
            changed["precision"] = cast("Precision", own.text)
        return dataclasses.replace(self, **changed)


def _whole(own: Written, least: int) -> int:
    with contextlib.suppress(ValueError):
        if int(own.text) >= least:
            return int(own.text)
    raise InputError(f"{own.where}: expected a whole number >= {least}, got {own.text!r}")


def declared_subject(path: Path) -> Document:
    """What a file of gates says of its model and images, of which it has both. Raises InputError where it does not."""
    if not path.is_file():
        raise InputError(
            f"{path_text(path)}: expected a file of gates, found none; write one by python -m pytest_robustness init, or give --model and "
            "--images"
        )
    document = read_sources(path)
    for name in ("model", "images"):
        if getattr(document, name) is None:
            raise InputError(
                f"{path_text(path)}: expected {name}: in it, got none; write it there, or give --model and --images, as fixtures of "
                "conftest.py are not read"
            )
    return document


@contextlib.contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Within it, modules of this folder can be imported, as pytest does for a file of gates that lies there."""
    name = str(folder.absolute())
    if name in sys.path:
        yield
        return
    sys.path.insert(0, name)
    try:
        yield
    finally:
        sys.path.remove(name)


@contextlib.contextmanager
def asked(model: LoadedModel, images: ImageSet, how: How, *, folder: Path, terminal: TextIO) -> Iterator[Engine]:
    """The engine of the model and the images, whose answers are kept where pytest, run in this folder, keeps them too.

    How far it is stands on the terminal, where it is one. Raises InputError as `paired` and `Engine` do.
    """
    progress = None
    if terminal.isatty():

        def write(text: str) -> None:
            print(text, end="", flush=True, file=terminal)

        progress = Progress(write, column=lambda: 0, width=lambda: shutil.get_terminal_size().columns)
    with contextlib.closing(OutcomeStore(_kept(folder) / "outcomes.sqlite")) as store:
        try:
            yield Engine(
                *paired(model, images),
                device=how.device,
                seed=how.seed,
                batch_size=how.batch_size,
                precision=how.precision,
                store=store,
                progress=progress,
            )
        finally:
            if progress is not None:
                progress.erase()


def _kept(folder: Path) -> Path:
    """Where pytest keeps answers that is run in this folder: in the cache of its root, as far as files tell it."""
    above = (folder.absolute(), *folder.absolute().parents)
    root = next((own for own in above if any((own / name).is_file() for name in _ROOTS)), above[0])
    cache = root / ".pytest_cache"
    if not cache.exists():
        with contextlib.suppress(OSError):
            cache.mkdir()
            # As pytest does: nobody's repository is to have it.
            (cache / ".gitignore").write_text("*\n", encoding="utf-8")
    return cache / "d" / "robustness"
