"""The parts measured inside worker processes: attacks and blends, memory, photos, and a GPU at work.

Each part yields its sections as they are ready. What contenders do is in `contenders`, which workers alone import: it
needs torch.
"""

import functools
import importlib.util
import itertools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmarks.material import (
    LEVELS,
    PUBLISHED,
    Device,
    Job,
    Stress,
    copy_images,
    draw_pictures,
    fill_with_photos,
    material,
)
from benchmarks.measure import Figure, Sample, Worker, interleaved
from benchmarks.table import Headline, Row, Section, Target

if TYPE_CHECKING:
    from benchmarks.contenders import Contender

__all__ = [
    "FULL",
    "QUICK",
    "Setting",
    "Sizes",
    "attacks",
    "contend",
    "cuda_name",
    "differing",
    "gpu",
    "held",
    "installed",
    "memory",
    "photos",
    "seconds",
]


@dataclass(frozen=True)
class Sizes:
    """How much is measured: images per class, epsilons in units of 1/255, how many pictures are drawn, and how many items."""

    per_class: int
    epsilons: Sequence[float]
    pictures_64: Sequence[int]
    pictures_224: Sequence[int]
    photos: int
    gpu: int
    items: int


FULL = Sizes(50, (0.5, 1, 8), (32, 1_000, 10_000), (32, 1_000, 3_000), photos=200, gpu=256, items=10_000)
QUICK = Sizes(1, (1,), (8, 40), (8, 16), photos=8, gpu=128, items=50)


@dataclass(frozen=True)
class Setting:
    """What every part is told. `scratch` is a folder that is thrown away afterwards."""

    sizes: Sizes
    repeats: int
    device: Device
    threads: int
    scratch: Path

    @property
    def where(self) -> str:
        """The device in words."""
        return f"cpu, {self.threads} thread{'s' * (self.threads > 1)}" if self.device == "cpu" else "CUDA"

    def judged(self, rows: Sequence[Row | Headline]) -> Sequence[Row | Headline]:
        """The rows, without their targets where those are not about what was measured: another classifier, device or size."""
        if self.sizes is FULL and self.device == "cpu" and material().published:
            return rows
        return [replace(row, target=None) if isinstance(row, Row) else row for row in rows]


@dataclass(frozen=True)
class _Round:
    """A stress as the attacks' part measures it: its name, what its limit counts, who offers it, and what is wanted of us."""

    stress: Stress
    name: str
    limit: str
    offers: Sequence["Contender"]
    targets: Mapping[float, Target]


# Neither library lays an overlay over an image.
_ROUNDS = (
    _Round(
        "fgsm",
        "FGSM",
        "(forward + input gradient) + forward",
        ("by hand", "foolbox", "torchattacks", "ours"),
        {epsilon: Target("<=", 0.70) for epsilon in FULL.epsilons},
    ),
    _Round(
        "pgd",
        "PGD, 20 steps",
        "20 x (forward + input gradient) + forward",
        ("by hand", "foolbox", "torchattacks", "ours"),
        {0.5: Target("<=", 0.20), 1: Target("<=", 0.12), 8: Target("<=", 0.08)},
    ),
    _Round("blend", "blends", f"{len(LEVELS)} x forward", ("by hand", "ours", "ours, ladder"), {}),
)
_NAMES = {
    "by hand": "loop by hand",
    "ours": "pytest-robustness",
    "ours, ladder": "the same as a gate",
}
_SHORT = {"by hand": "float32", "by hand, float64": "float64", "ours": "this package", "ours, ladder": "as a gate"}
_Found = Mapping[tuple[float, str], Sequence[Sample]]


def attacks(setting: Setting) -> Iterator[Section]:
    """FGSM, PGD and a sweep of blends by every contender, against what the model alone costs."""
    chosen = material()
    images = setting.scratch / f"attacked-{setting.device}"
    n = copy_images(chosen.images, images, per_class=setting.sizes.per_class)
    job = Job(chosen.classifier, images, setting.device, "fgsm", setting.sizes.epsilons[-1] / 255)
    with ExitStack() as stack:
        workers: dict[Contender, Worker] = {}
        for contender in _ROUNDS[0].offers:
            if contender in ("by hand", "ours") or installed(contender):
                workers[contender] = stack.enter_context(Worker(threads=setting.threads))
        workers["ours, ladder"] = workers["ours"]
        for contender, worker in workers.items():
            worker.call(contend, contender, replace(job, stress="blend") if contender == "ours, ladder" else job)
        decoding = workers["ours"].call(_decode_alone, images)
        for each in _ROUNDS:
            epsilons = setting.sizes.epsilons if each.stress != "blend" else (0.0,)
            there = [contender for contender in each.offers if contender in workers]
            runs: dict[tuple[float, str], Callable[[], Sample]] = {}
            for epsilon in epsilons:
                own = replace(job, stress=each.stress, epsilon=epsilon / 255)
                runs[epsilon, "limit"] = functools.partial(workers["by hand"].call, _limit, own)
                for contender in there:
                    runs[epsilon, contender] = functools.partial(workers[contender].call, contend, contender, own)
            found = interleaved(runs, setting.repeats)
            # Asked for its verdicts alone.
            for epsilon in epsilons:
                own = replace(job, stress=each.stress, epsilon=epsilon / 255)
                found[epsilon, "by hand, float64"] = [workers["by hand"].call(contend, "by hand, float64", own)]
            yield Section(
                f"a. {each.name}: {chosen.title}, {n} images, {setting.where}",
                f"seconds over those of the limit, {each.limit}",
                setting.judged([row for epsilon in epsilons for row in _attack_rows(each, epsilon, found)]),
                notes=[
                    *_verdict_lines(each, epsilons, found, n),
                    f"Of pytest-robustness' seconds, {decoding.seconds:.3f} are listing and decoding.",
                ],
            )


def _attack_rows(each: _Round, epsilon: float, found: _Found) -> Iterator[Row | Headline]:
    if each.stress != "blend":
        yield Headline(f"epsilon {epsilon:g}/255")
    limit = seconds(found[epsilon, "limit"])
    yield Row("limit", limit, limit.over(limit))
    for contender in each.offers:
        name = _NAMES.get(contender, contender)
        if (epsilon, contender) not in found:
            yield Row(name, remark="not installed")
            continue
        figure = seconds(found[epsilon, contender])
        yield Row(name, figure, figure.over(limit), each.targets.get(epsilon) if contender == "ours" else None)


def _verdict_lines(each: _Round, epsilons: Sequence[float], found: _Found, n: int) -> Iterator[str]:
    """How many images hold by hand, and how many verdicts of everybody else differ from those, in the worst of the rounds."""
    by_hand = ("by hand", "by hand, float64")
    there = [contender for contender in (*by_hand, *each.offers[1:]) if (epsilons[0], contender) in found]
    for reference in by_hand:
        others = [contender for contender in there if contender != reference]
        total = len(found[epsilons[0], reference][0].right)
        yield f"Images that hold by hand in {'float64' if 'float64' in reference else 'float32'}, and how many of {total} verdicts differ:"
        yield f"  {'':10}{'hold':>6}{''.join(f'{_SHORT.get(other, other):>15}' for other in others)}"
        for epsilon in epsilons:
            expected = found[epsilon, reference][0].right
            standing = held(expected, n)
            line = f"  {f'{epsilon:g}/255' if epsilon else 'all levels':10}{f'{sum(standing[-n:]) / n:.1%}':>6}"
            for other in others:
                wanted = standing if other == "ours, ladder" else expected
                line += f"{max(differing(sample.right, wanted) for sample in found[epsilon, other]):>15}"
            yield line


def differing(right: Sequence[bool], expected: Sequence[bool]) -> int:
    """How many of the verdicts are others; ValueError where they are not equally many."""
    return sum(a != b for a, b in zip(right, expected, strict=True))


def held(right: Sequence[bool], n: int) -> tuple[bool, ...]:
    """Level by level, n images each: whether the image is right at this level and was so at all before."""
    levels = [tuple(right[start : start + n]) for start in range(0, len(right), n)]
    standing = itertools.accumulate(levels, lambda before, now: tuple(map(operator.and_, before, now)))
    return tuple(itertools.chain.from_iterable(standing))


def memory(setting: Setting) -> Iterator[Section]:
    """The peak memory of clean and noisy accuracy over few images and many."""
    rows: list[Row | Headline] = []
    pictures: tuple[tuple[int, Literal[".png", ".jpg"], Sequence[int]], ...] = (
        (64, ".png", setting.sizes.pictures_64),
        (224, ".jpg", setting.sizes.pictures_224),
    )
    for size, suffix, counts in pictures:
        folders = {count: setting.scratch / f"pictures-{size}-{count}" for count in counts}
        with Worker(threads=setting.threads) as artist:
            for count, folder in folders.items():
                artist.call(draw_pictures, folder, count, width=size, height=size, suffix=suffix)
        runs = {count: functools.partial(_peak, folder, setting.threads) for count, folder in folders.items()}
        found = {count: Figure(tuple(peaks)) for count, peaks in interleaved(runs, setting.repeats).items()}
        rows.append(Headline(f"{suffix[1:].upper()} files of {size} x {size} pixels"))
        rows += [Row(f"{n:,} images", found[n], found[n].over(found[counts[0]])) for n in counts]
    yield Section(
        "d. peak memory of a process: accuracy on clean images, then under noise, two small convolutions, cpu",
        "to the peak over the fewest images",
        rows,
        unit="MB",
    )


def _peak(folder: Path, threads: int) -> float:
    # A process has one peak: each measurement takes a new one.
    with Worker(threads=threads) as worker:
        return worker.call(_memory, folder)


def photos(setting: Setting) -> Iterator[Section]:
    """Photos from files to answers, against answers alone."""
    folder = setting.scratch / "photos"
    with ExitStack() as stack:
        ours, others = (stack.enter_context(Worker(threads=setting.threads)) for _ in range(2))
        title = others.call(fill_with_photos, folder, setting.sizes.photos)
        heading = f"e. {title} resized to 256 and cropped to 224, MobileNetV2, {setting.where}"
        if not (PUBLISHED.is_dir() or installed("torchvision")):
            yield Section(heading, "", [Row("torchvision", remark="not installed")])
            return
        runs = {
            "model alone, preloaded": functools.partial(others.call, _photos, "preloaded", folder, setting.device),
            "loop by hand with Pillow": functools.partial(others.call, _photos, "by hand", folder, setting.device),
            "pytest-robustness": functools.partial(ours.call, _photos, "ours", folder, setting.device),
        }
        for run in runs.values():
            run()
        found = {name: seconds(samples) for name, samples in interleaved(runs, setting.repeats).items()}
    bare = found["model alone, preloaded"]
    rows = [Row(name, figure, figure.over(bare)) for name, figure in found.items()]
    yield Section(heading, "seconds over those of the model alone on tensors", rows)


def gpu(setting: Setting) -> Iterator[Section]:
    """PGD on ResNet-50 where every image holds, against the bare passes; then the attacks' part on the GPU."""
    with ExitStack() as stack:
        ours, bare = (stack.enter_context(Worker(threads=setting.threads)) for _ in range(2))
        name = bare.call(cuda_name)
        title = f"f. PGD, 20 steps, every image holds: ResNet-50, untrained, {setting.sizes.gpu} images of 224 px, "
        missing = [name for name, there in (("CUDA", name), ("torchvision", installed("torchvision"))) if not there]
        if missing:
            yield Section(f"{title}CUDA", "of throughputs", [Row(what, remark="not there") for what in missing])
            return
        folder = setting.scratch / "gpu"
        bare.call(draw_pictures, folder, setting.sizes.gpu, width=224, height=224, suffix=".png")
        rows: list[Row | Headline] = []
        held_up = setting.sizes.gpu
        for precision in ("float32", "tf32"):
            runs = {
                "forward and gradient": functools.partial(bare.call, _throughput, "bare", folder, precision),
                "pytest-robustness": functools.partial(ours.call, _throughput, "ours", folder, precision),
            }
            for run in runs.values():
                run()
            found = interleaved(runs, setting.repeats)
            alone, whole = (seconds(samples) for samples in found.values())
            held_up = min(held_up, *(sum(sample.right) for sample in found["pytest-robustness"]))
            rows += [
                Headline(precision),
                Row("model alone", alone, alone.over(alone)),
                Row(
                    "pytest-robustness", whole, alone.over(whole), Target(">=", 0.90) if setting.sizes is FULL else None
                ),
            ]
    yield Section(
        f"{title}{name}",
        "the throughput in units of the model's own, 20 x (forward + input gradient) + forward",
        rows,
        notes=[f"{held_up} of {setting.sizes.gpu} images held; a ratio means something where all did."],
    )
    yield from attacks(replace(setting, device="cuda"))


def seconds(samples: Sequence[Sample]) -> Figure:
    """The seconds of the rounds."""
    return Figure(tuple(sample.seconds for sample in samples))


def installed(library: str) -> bool:
    """Whether an optional library is there; nothing of it is imported."""
    return importlib.util.find_spec(library) is not None


# What workers run. They import torch and this package; the process that starts them does not.


def contend(contender: "Contender", job: Job) -> Sample:
    """One job of one contender, in a worker."""
    from benchmarks import contenders

    return contenders.contend(contender, job)


def cuda_name() -> str:
    """The name of the first CUDA device, in a worker; nothing where there is none."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""


def _limit(job: Job) -> Sample:
    from benchmarks import contenders

    return contenders.limit(job)


def _decode_alone(folder: Path) -> Sample:
    from benchmarks import contenders

    return contenders.decode_alone(folder)


def _memory(folder: Path) -> float:
    from benchmarks import contenders

    return contenders.memory(folder)


def _photos(contender: Literal["ours", "by hand", "preloaded"], folder: Path, device: Device) -> Sample:
    from benchmarks import contenders

    return contenders.photos(contender, folder, device)


def _throughput(contender: Literal["ours", "bare"], folder: Path, precision: Literal["float32", "tf32"]) -> Sample:
    from benchmarks import contenders

    return contenders.throughput(contender, folder, precision)
