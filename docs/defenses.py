"""What defenses come to, as docs/defenses.md shows it: `python docs/defenses.py table plain`.

`table` is the smoothing vote under Gaussian noise, `attack` FGSM and PGD where the attacker knows of the vote and where not,
`certificate` randomized smoothing. What they are measured on is told in docs/material.py.
"""

import argparse
import sys
from collections.abc import Sequence

import torch
from material import MAKERS, asked


def main(arguments: Sequence[str]) -> int:
    """Measure and print; the exit status."""
    parser = argparse.ArgumentParser("python docs/defenses.py", description=__doc__.partition("\n")[0])
    parser.add_argument("which", choices=["table", "attack", "certificate"])
    parser.add_argument("what", choices=list(MAKERS))
    parser.add_argument("--colour", action="store_true", help="table: leave the grey-level photos out")
    parser.add_argument(
        "--smooth-files", action="store_true", help="table: blur the files too, before they are resized"
    )
    parser.add_argument("--epsilons", type=float, nargs="+", default=[1, 2, 4], metavar="N", help="attack: in 1/255")
    parser.add_argument("--sigma", type=float, default=0.25, help="certificate: of the noise (default: 0.25)")
    parser.add_argument("--n", type=int, default=1000, help="certificate: draws per image (default: 1000)")
    parser.add_argument("--images", type=int, default=1, metavar="K", help="every K-th image only")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model, images, batch_size, _ = asked(options.what)
    from pytest_robustness import (
        FGSM,
        PGD,
        BeforeResize,
        Engine,
        GaussianBlur,
        GaussianNoise,
        RandomizedSmoothing,
        Robustness,
        SmoothingVote,
        fixed,
        then,
    )

    robustness = Robustness(Engine(model, images, device="cpu", batch_size=batch_size))
    chosen = images.images[:: options.images]
    if options.colour:
        chosen = tuple(image for image in chosen if not torch.equal(*images.native(image.id)[:2]))
    noise, sigmas = GaussianNoise(), [0.0, 0.125, 0.25, 0.375]
    if options.which == "table" and options.smooth_files:
        blur = fixed(GaussianBlur(), 1.0)
        for chain in (noise, then(noise, blur), then(noise, blur, blur)):
            for accuracy in robustness.accuracies(BeforeResize(chain), sigmas, images=chosen):
                print(repr(accuracy))
    elif options.which == "table":
        print(robustness.vote_tables(noise, sigmas, images=chosen))
    elif options.which == "attack":
        epsilons = [epsilon / 255 for epsilon in (0.0, *options.epsilons)]
        for attack in (FGSM(), PGD(steps=20)):
            print(robustness.defense_curves(attack, epsilons, SmoothingVote(), images=chosen), end="\n\n")
    else:
        smoothing = RandomizedSmoothing(sigma=options.sigma, n=options.n)
        print(robustness.certified_accuracy(smoothing, images=chosen))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
