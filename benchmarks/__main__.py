"""One command, one table: `python -m benchmarks`.

  a  FGSM, PGD and a sweep of blends, batched: this package, foolbox, torchattacks and a loop by hand, against the limit,
     which is what the model as given costs and nothing else: steps x (forward + input gradient) + forward; and whose
     verdicts differ from those of the loop by hand, in float32 and in float64
  b  pytest items, one per image: PGD against torchattacks image by image; clean images and blends against one bare loop;
     items that look their answers up against items that do nothing
  c  what the plugin adds to the start of a suite that has nothing to do with it
  d  peak memory over few images and many
  e  photos: decoding, resizing and forward against the forward alone
  f  a GPU, where there is one: PGD on ResNet-50 against the bare passes; then part a there
  g  the common corruptions at 224 pixels on one CPU thread against imagecorruptions, image by image
  h  robust accuracy under the attacks of AutoAttack on one CPU thread against pyautoattack, image by image; measured once,
     in seconds of the processor, and only where it is named: it takes hours
  i  every image towards every other class on one CPU thread: the time for a pair against a loop over the targets with
     torchattacks, in seconds of the processor

What is counted. Everything compared is measured in one run, in rounds that take turns; figures are medians over the
rounds, with the smallest and the largest, and ratios are taken within a round. Everybody has the same classifier
(eval mode, frozen parameters: gradients are those of the images alone), images, labels, float32, threads and, but for
this package, which chooses its own, batches (32 on a CPU, 128 on CUDA). Each contender of part a has a process of its
own and is run once before it is measured. The others find their images decoded and on the device; this package begins
each round with the path of a folder and a new engine, so that its seconds include listing, decoding and choosing how
to run the model. In part b, items cost what pytest's clock says less what it says of the same suite with all but its
first item dropped after collection; the cache on disk is off. Targets stand beside the ratios they are about: all
images, and for a to e, g and i the CPU and the published CIFAR-10 classifier. In part h they are about the images that hold.
"""

import argparse
import datetime
import importlib.metadata
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.agreement import agreement
from benchmarks.corruptions import common_corruptions
from benchmarks.measure import Worker
from benchmarks.parts import FULL, QUICK, Setting, attacks, cuda_name, gpu, memory, photos
from benchmarks.suites import items, start
from benchmarks.table import Section, render
from benchmarks.targeted import every_target

_PARTS: dict[str, Callable[[Setting], Iterator[Section]]] = {
    "a": attacks,
    "b": items,
    "c": start,
    "d": memory,
    "e": photos,
    "f": gpu,
    "g": common_corruptions,
    "h": agreement,
    "i": every_target,
}
_RECORD = Path(__file__).with_name("RESULTS.md")
_VERSIONS = ("pytest-robustness", "torch", "foolbox", "torchattacks", "pyautoattack", "torchvision", "pillow", "pytest")


def main(arguments: Sequence[str]) -> int:
    """Measure, print every table as soon as it is there, and record them where that is asked for; the exit status."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usual = [part for part in _PARTS if part != "h"]
    parser.add_argument(
        "--only", type=_parts, default=usual, metavar="a,b,...", help="measure these parts only (default: all but h)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a handful of images: shows that it works, measures nothing"
    )
    parser.add_argument("--repeats", type=_at_least_one, metavar="N", help="rounds (default: 5, with --quick 2)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="of parts a, b and e (default: cpu)")
    parser.add_argument("--threads", type=_at_least_one, default=os.cpu_count(), metavar="N", help="of everybody")
    parser.add_argument("--record", action="store_true", help=f"append the tables to benchmarks/{_RECORD.name}")
    options = parser.parse_args(arguments)
    accelerator = ""
    if options.device == "cuda" or "f" in options.only:
        with Worker(threads=options.threads) as worker:
            accelerator = worker.call(cuda_name)
    if options.device == "cuda" and not accelerator:
        parser.error("--device cuda: expected a CUDA device, found none; leave the option out")
    machine = f"{_processor()}, {os.cpu_count()} cores" + (f"; {accelerator}" if accelerator else "")
    heading = [
        f"{datetime.date.today().isoformat()}: {machine}",
        ", ".join([f"python {platform.python_version()}", *(f"{name} {_version(name)}" for name in _VERSIONS)]),
        shlex.join(["python", "-m", "benchmarks", *arguments]),
    ]
    print(*heading, "", sep="\n", flush=True)
    if options.record:
        begin(_RECORD, heading)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as scratch:
        sizes, repeats = (QUICK, 2) if options.quick else (FULL, 5)
        setting = Setting(sizes, options.repeats or repeats, options.device, options.threads, Path(scratch))
        for part in options.only:
            for section in _PARTS[part](setting):
                table = render(section)
                print(table, flush=True)
                if options.record:
                    append(_RECORD, table)
    return 0


def begin(record: Path, heading: Sequence[str]) -> None:
    """Add a run's title, versions and command to the end of a record, which is begun where there is none."""
    title, versions, command = heading
    before = "" if record.exists() else "# Results\n\nRuns of `python -m benchmarks`, the newest last.\n"
    with record.open("a", encoding="utf-8") as file:
        file.write(f"{before}\n## {title}\n\n`{command}`\n\n{versions}\n")


def append(record: Path, table: str) -> None:
    """Add a table as soon as it is there: a run that dies has lost nothing."""
    with record.open("a", encoding="utf-8") as file:
        file.write(f"\n```text\n{table}```\n")


def _parts(text: str) -> list[str]:
    parts = text.split(",")
    unknown = [part for part in parts if part not in _PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"expected parts out of {','.join(_PARTS)}, got {unknown[0]!r}")
    return parts


def _at_least_one(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number >= 1, got {text!r}")
    return int(text)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    """The processor's name as its maker writes it."""
    described = Path("/proc/cpuinfo")
    if described.exists():
        for line in described.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
