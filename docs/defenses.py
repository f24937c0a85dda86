"""What attackers make of defenses, as docs/defenses.md shows it: `python -m docs.defenses attack plain`.

`attack` is FGSM and PGD where the attacker knows of the smoothing vote and where not, `files` Gaussian noise on the files, which are
blurred before they are resized. What they are measured on is told in examples/material.py; the vote's own table and certificates
are `python -m examples.noise_vote`.
"""

import argparse
import sys
from collections.abc import Sequence

from examples.material import MAKERS, asked, status
from pytest_robustness import (
    FGSM,
    PGD,
    BeforeResize,
    Engine,
    GaussianBlur,
    GaussianNoise,
    Robustness,
    SmoothingVote,
    fixed,
    then,
)


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser("python -m docs.defenses", description=__doc__.partition("\n")[0])
    parser.add_argument("which", choices=["attack", "files"])
    parser.add_argument("what", choices=list(MAKERS))
    parser.add_argument("--epsilons", type=float, nargs="+", default=[1, 2, 4], metavar="N", help="attack: in 1/255")
    options = parser.parse_args(arguments)
    model, images, batch_size, _ = asked(options.what)
    robustness = Robustness(Engine(model, images, device="cpu", batch_size=batch_size))
    if options.which == "attack":
        epsilons = [epsilon / 255 for epsilon in (0.0, *options.epsilons)]
        for attack in (FGSM(), PGD(steps=20)):
            print(robustness.defense_curves(attack, epsilons, SmoothingVote()), end="\n\n")
        return
    coloured = tuple(
        image for image in images.images if not images.native(image.id)[0].equal(images.native(image.id)[1])
    )
    noise, blur = GaussianNoise(), fixed(GaussianBlur(), 1.0)
    for chain in (noise, then(noise, blur), then(noise, blur, blur)):
        for accuracy in robustness.accuracies(BeforeResize(chain), [0.0, 0.125, 0.25, 0.375], images=coloured):
            print(repr(accuracy))


if __name__ == "__main__":
    sys.exit(status(main))
