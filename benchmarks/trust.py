"""What the checks of attacks cost beside an attack on 100 images: `python -m benchmarks.trust`.

Seconds of the processor on one thread, and how many images the model was shown and differentiated for, with the copies that
fill small batches up. An engine of its own for each line, so that nothing is known before; within a suite the gate and its
checks share answers, and each line is paid once.
"""

import csv
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.material import PUBLISHED, ROOT, Classifier, classifier

if TYPE_CHECKING:
    from pytest_robustness import ImageSet

__all__ = ["Cost", "main"]

_IMAGES = 100


@dataclass
class Cost:
    """What something takes of a model; `shown` and `gradients` are images."""

    seconds: float = 0.0
    shown: int = 0
    gradients: int = 0

    def __str__(self) -> str:
        return f"{self.seconds:7.1f} s, {self.shown:6} images shown, {self.gradients:6} gradients"


def main() -> int:
    """Measure and print, classifier by classifier; the exit status."""
    import torch

    from pytest_robustness import APGD, FGSM, PGD, Engine, image_folder
    from pytest_robustness.trust import Trust
    from pytest_robustness.types import Attack

    torch.set_num_threads(1)

    def cost(name: Classifier, images: "ImageSet", work: Callable[[Engine], object]) -> Cost:
        model, found = classifier(name), Cost()

        def count(module: object, inputs: object, logits: torch.Tensor) -> None:
            n = len(logits)
            found.shown += n
            if logits.requires_grad:
                logits.register_hook(lambda _: take(n))  # type: ignore[no-untyped-call]

        def take(n: int) -> None:
            found.gradients += n

        engine = Engine(model, images, device="cpu")
        # The engine gets to know the model before the clock starts, as it does once in every session.
        engine.evaluate([images.images[0].id])
        counting, began = model.register_forward_hook(count), time.process_time()
        work(engine)
        found.seconds = time.process_time() - began
        counting.remove()
        return found

    fixtures = image_folder(ROOT / "fixtures" / "images")
    subjects: list[tuple[Classifier, ImageSet, float]] = [
        ("fixtures_plain", fixtures, 4),
        ("fixtures_hardened", fixtures, 8),
    ]
    if PUBLISHED.is_dir():
        subjects.append(("cifar_resnet20", image_folder(PUBLISHED / "cifar10" / "images"), 0.5))
        subjects.append(("mobilenet_v2", _photos(), 0.5))
    for name, images, levels in subjects:
        epsilon = levels / 255
        some = [image.id for image in images.images[:: max(1, len(images) // _IMAGES)]][:_IMAGES]
        print(f"{name}, epsilon {levels:g}/255")

        def attacked(engine: Engine, some: list[str] = some, epsilon: float = epsilon) -> object:
            return engine.evaluate(some, PGD(), epsilon)

        print(f"  {cost(name, images, attacked)}: PGD() on {len(some)} images", flush=True)
        for attack in (FGSM(), PGD(), APGD()):

            def checked(engine: Engine, attack: Attack = attack, epsilon: float = epsilon) -> object:
                return Trust(engine).doubts(attack, epsilon)

            print(f"  {cost(name, images, checked)}: the checks of {attack!r}", flush=True)
    return 0


def _photos() -> "ImageSet":
    from pytest_robustness import labelled_images

    root = PUBLISHED / "imagenet_samples"
    with (root / "labels.csv").open(newline="", encoding="utf-8") as file:
        labels = {row["file"]: [int(row["label"])] for row in csv.DictReader(file)}
    lines = (root / "classes.txt").read_text(encoding="utf-8").splitlines()
    names = [line.partition("\t")[2].partition(",")[0] for line in lines]
    return labelled_images(root, labels, classes=names, accept={"grey"}, resize=256, crop=224)


if __name__ == "__main__":
    sys.exit(main())
