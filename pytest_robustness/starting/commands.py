"""The commands `init` and `measure` as argparse knows them; nothing heavy is imported before one of them runs."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_robustness.errors import InputError

if TYPE_CHECKING:
    from pytest_robustness.starting.subject import Subject

__all__ = ["add_commands"]

_REFUSED = 2


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Both commands, each with a default `run` that takes the arguments and returns the exit status."""
    init = commands.add_parser(
        "init",
        help="write robustness.yaml and test_robustness.py for a model and images, and try them",
        description="Write a commented robustness.yaml and test_robustness.py into this folder, for a model and images, and try them. What "
        "is not named is looked for in the folder.",
    )
    init.set_defaults(run=lambda given: _run(_init, given))
    measure = commands.add_parser(
        "measure",
        help="measure every default stress once, and propose gates with thresholds",
        description="Measure every default stress once, and propose gates whose thresholds are lower bounds at confidence 0.95.",
    )
    measure.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="the file of gates that names them (default: robustness.yaml)",
    )
    measure.add_argument("--overlay", type=Path, metavar="PICTURE", help="measure blends with this picture as well")
    measure.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the gates to this file")
    measure.set_defaults(run=lambda given: _run(_measure, given))
    for command in (init, measure):
        _add_subject(command)
        command.add_argument("--force", action="store_true", help="replace files that are there")


def _add_subject(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", metavar="SOURCE", help="torchvision:resnet18, a file, package.module:function")
    command.add_argument("--weights", type=Path, metavar="FILE", help="weights in place of the model's own")
    command.add_argument("--mean", nargs=3, type=float, metavar=("R", "G", "B"), help="what the model takes away")
    command.add_argument("--std", nargs=3, type=float, metavar=("R", "G", "B"), help="what the model divides by")
    command.add_argument("--resize", type=int, metavar="PIXELS", help="the short side that images are resized to")
    command.add_argument(
        "--crop", type=int, metavar="PIXELS", help="the side of the square that is cut from the centre"
    )
    command.add_argument("--images", metavar="PATH", help="a folder with one folder per class, or a manifest")
    command.add_argument("--classes", type=Path, metavar="FILE", help="a file with the model's classes in its order")
    command.add_argument("--device", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    command.add_argument("--seed", type=int, metavar="N", help="seed of all noise (default: 0)")


def _run(command: Any, given: argparse.Namespace) -> int:
    try:
        status: int = command(given)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
    except KeyboardInterrupt:
        sys.stderr.write("stopped; answers are kept, and the same command goes on from here\n")
    else:
        return status
    return _REFUSED


def _init(given: argparse.Namespace) -> int:
    from pytest_robustness.starting.init import init
    from pytest_robustness.starting.subject import How

    return init(Path(), _subject(given), How(**_options(given)), force=given.force)


def _measure(given: argparse.Namespace) -> int:
    from pytest_robustness.starting.measure import measure

    subject = _subject(given)
    named = bool(given.model) and bool(given.images)
    if (subject.model or subject.images) and (not named or given.file):
        raise InputError(
            "expected --model and --images with what belongs to them, or the name of a file that has both, got a part of it; name both of "
            "them, or the file alone"
        )
    file = given.file or Path("robustness.yaml")
    return measure(file, subject, _options(given), overlay=given.overlay, output=given.output, force=given.force)


def _options(given: argparse.Namespace) -> dict[str, Any]:
    return {name: own for name in ("device", "seed") if (own := getattr(given, name)) is not None}


def _subject(given: argparse.Namespace) -> "Subject":
    from pytest_robustness.starting.subject import Subject

    model = {"source": given.model, "state": given.weights, "mean": given.mean, "std": given.std}
    images = {"source": given.images, "classes": given.classes, "resize": given.resize, "crop": given.crop}
    return Subject(*({name: own for name, own in said.items() if own is not None} for said in (model, images)))
