"""Making anything look like anything, for every pair of classes: `python -m examples.modify_and_mimic plain --epsilon 2`.

A targeted attack in small steps takes every picture towards every other class. How often are pictures of a class made another, and
how often are others made it? With `--store FILE` a run that is killed goes on where it was.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from examples import figure
from examples.material import MAKERS, asked, command, status
from pytest_robustness import PGD, Engine, Robustness
from pytest_robustness.cache import OutcomeStore
from pytest_robustness.matrices import TargetedMatrix, illustrating
from pytest_robustness.report.rates import histogram, scatter
from pytest_robustness.traces import Trace


def main(arguments: Sequence[str]) -> None:
    """Print the rates of classes and groups, and one picture on its way; draw how they are spread."""
    parser = command(__spec__.name, __doc__, choices=list(MAKERS), default="plain")
    parser.add_argument("--epsilon", type=float, default=2, metavar="N", help="in units of 1/255 (default: 2)")
    parser.add_argument("--steps", type=int, default=20, metavar="N", help="of PGD (default: 20)")
    parser.add_argument(
        "--images-per-class", type=int, metavar="N", help="so many pictures of each class (default: all)"
    )
    parser.add_argument("--store", type=Path, metavar="FILE", help="keep outcomes in this file as they come")
    options = parser.parse_args(arguments)
    model, images, batch_size, pairs = asked(options.what)
    store = None if options.store is None else OutcomeStore(options.store)
    robustness = Robustness(Engine(model, images, device="cpu", batch_size=batch_size, store=store), explain="all")
    attack, epsilon = PGD(steps=options.steps), options.epsilon / 255
    matrix = robustness.targeted_matrix(attack, epsilon, images_per_class=options.images_per_class, **pairs)
    print(matrix)
    examples = illustrating(matrix.record)
    if examples:
        hard = next(iter(examples.values()))
        trace = robustness.trace(hard.image, attack, epsilon, hard.target)
        print(f"\n{trace}")
        if options.picture is not None:
            figure.save(drawn(robustness, matrix, trace), options.picture)
    if store is not None:
        store.close()


def drawn(robustness: Robustness, matrix: TargetedMatrix, trace: Trace) -> Image.Image:
    """How the rates are spread and go together; successes from both ends of the lists; one picture on its way."""
    spread = [
        figure.histogram(histogram(kind, rates))
        for kind, rates in (("modify", matrix.modify_rates), ("mimic", matrix.mimic_rates))
    ]
    together = scatter(matrix)
    assert together is not None  # there are examples, so both rates
    pictures = {(own.image, own.caption): own for own in robustness.pictures[matrix.record]}
    ends = []
    for name, pair in illustrating(matrix.record).items():
        before, after = pictures[pair.image, "clean"], pictures[pair.image, pair.caption]
        tiles = [
            figure.tile(figure.from_uri(own.png), [f"{share:.2f} {answer}" for answer, share in own.top[:1]])
            for own in (before, after)
        ]
        ends.append(
            figure.titled(f"{name}: {pair.true if 'modify' in name else pair.target}", figure.beside(*tiles, gap=4))
        )
    frames = [
        figure.tile(
            figure.from_uri(frame.png),
            [
                f"step {frame.step}",
                f"{frame.subject:.2f} {' or '.join(trace.accepted)}",
                f"{frame.target:.2f} {trace.target}",
            ],
            overlay=figure.from_uri(frame.overlay) if frame.overlay else None,
        )
        for frame in trace.frames
    ]
    return figure.below(
        figure.beside(figure.below(*spread), figure.scatter(together)),
        figure.beside(*ends),
        figure.titled(f"{trace.said}, and what speaks for {trace.target}", figure.beside(*frames, gap=4)),
    )


if __name__ == "__main__":
    sys.exit(status(main))
