"""Making anything look like anything, for every pair of classes: `python -m examples.modify_and_mimic plain --epsilon 2`.

A targeted attack in small steps takes every picture towards every other class. How often are pictures of a class made another, and
how often are others made it? With `--store FILE` a run that is killed goes on where it was.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from examples import figure
from examples.material import MAKERS, asked, command, count, status
from pytest_robustness import PGD, Engine, Robustness
from pytest_robustness.cache import OutcomeStore
from pytest_robustness.matrices import TargetedMatrix, illustrating
from pytest_robustness.report.rates import histogram, scatter
from pytest_robustness.traces import Trace


def main(arguments: Sequence[str]) -> None:
    """Print the rates of classes and groups, and one picture on its way; draw how they are spread."""
    parser = command(__spec__.name, __doc__, choices=list(MAKERS), default="plain")
    parser.add_argument("--epsilon", type=float, default=2, metavar="N", help="in units of 1/255 (default: 2)")
    parser.add_argument("--steps", type=count, default=20, metavar="N", help="of PGD (default: 20)")
    parser.add_argument(
        "--images-per-class", type=count, metavar="N", help="so many pictures of each class (default: all)"
    )
    parser.add_argument("--store", type=Path, metavar="FILE", help="keep outcomes in this file as they come")
    options = parser.parse_args(arguments)
    model, images, batch_size, pairs = asked(options.what)
    store = None if options.store is None else OutcomeStore(options.store)
    robustness = Robustness(Engine(model, images, device="cpu", batch_size=batch_size, store=store), explain="all")
    attack, epsilon = PGD(steps=options.steps), options.epsilon / 255
    matrix = robustness.targeted_matrix(attack, epsilon, images_per_class=options.images_per_class, **pairs)
    print(matrix)
    trace = None
    if pair := next(iter(illustrating(matrix.record).values()), None):
        trace = robustness.trace(pair.image, attack, epsilon, pair.target)
        print(f"\n{trace}")
    if options.picture is not None:
        figure.save(drawn(robustness, matrix, trace), options.picture)
    if store is not None:
        store.close()


def drawn(robustness: Robustness, matrix: TargetedMatrix, trace: Trace | None) -> Image.Image:
    """How the rates are spread and go together and, of what succeeded, the ends of the lists and one picture on its way."""
    spread = figure.below(
        figure.histogram(histogram("modify", matrix.modify_rates)),
        figure.histogram(histogram("mimic", matrix.mimic_rates)),
    )
    together = scatter(matrix)
    rows = [spread if together is None else figure.beside(spread, figure.scatter(together))]
    if trace is not None:
        rows += [ends(robustness, matrix), way(trace)]
    return figure.below(*rows)


def ends(robustness: Robustness, matrix: TargetedMatrix) -> Image.Image:
    """A success of the classes that are hardest and easiest to modify and to mimic, before and after."""
    pictures = {(own.image, own.caption): own for own in robustness.pictures[matrix.record]}
    shown = []
    for name, pair in illustrating(matrix.record).items():
        tiles = (
            figure.tile(figure.from_uri(own.png), [f"{share:.2f} {answer}" for answer, share in own.top[:1]])
            for own in (pictures[pair.image, "clean"], pictures[pair.image, pair.caption])
        )
        title = f"{name}: {pair.true if 'modify' in name else pair.target}"
        shown.append(figure.titled(title, figure.beside(*tiles, gap=4)))
    return figure.beside(*shown)


def way(trace: Trace) -> Image.Image:
    """One picture while it is altered, under what speaks for the target."""
    accepted = " or ".join(trace.accepted)
    tiles = (
        figure.tile(
            figure.from_uri(frame.png),
            [f"step {frame.step}", f"{frame.subject:.2f} {accepted}", f"{frame.target:.2f} {trace.target}"],
            overlay=figure.from_uri(frame.overlay) if frame.overlay else None,
        )
        for frame in trace.frames
    )
    return figure.titled(f"{trace.said}, and what speaks for {trace.target}", figure.beside(*tiles, gap=4))


if __name__ == "__main__":
    sys.exit(status(main))
