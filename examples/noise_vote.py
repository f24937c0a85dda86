"""Noise, smoothing and a vote, beside the published table and a certificate: `python -m examples.noise_vote`.

Gaussian noise at three levels; the model asked about the noisy picture, the same blurred once and blurred twice (5 x 5, sigma 1);
the majority of the three answers, or none. The vote promises nothing; randomized smoothing, its relative, certifies a radius.
"""

import sys
from collections.abc import Sequence

import torch
from PIL import Image

from examples import figure
from examples.material import asked, command, count, status
from pytest_robustness import Engine, GaussianNoise, RandomizedSmoothing, Robustness, SmoothingVote
from pytest_robustness.perturbations import gaussian_blur
from pytest_robustness.vote_tables import VoteTable

SIGMAS = (0.0, 0.125, 0.25, 0.375)
PUBLISHED = """published, on ResNet-50 and 975 photos
sigma         none    single    double  majority  rejected
0            0.882     0.861     0.815     0.870     0.015
0.125        0.652     0.715     0.691     0.754     0.066
0.25         0.343     0.501     0.492     0.568     0.159
0.375        0.090     0.310     0.322     0.412     0.308"""


def main(arguments: Sequence[str]) -> None:
    """Print our table, the published one and the certificates; draw them with a picture under noise."""
    parser = command(__spec__.name, __doc__, choices=("photos", "plain", "hardened"))
    parser.add_argument("--images", type=count, default=1, metavar="K", help="every K-th image only")
    parser.add_argument("--colour", action="store_true", help="leave grey-level images out")
    parser.add_argument("--sigma", type=float, default=0.25, help="of the certified noise (default: 0.25)")
    parser.add_argument("--n", type=count, default=1000, help="certified draws per image (default: 1000)")
    parser.add_argument("--certify", type=count, default=5, metavar="K", help="of these images every K-th (default: 5)")
    options = parser.parse_args(arguments)
    model, images, batch_size, _ = asked(options.what)
    chosen = images.images[:: options.images]
    if options.colour:
        chosen = tuple(image for image in chosen if not torch.equal(*images.native(image.id)[:2]))

    robustness = Robustness(Engine(model, images, device="cpu", batch_size=batch_size))
    tables = robustness.vote_tables(GaussianNoise(), SIGMAS, SmoothingVote(), images=chosen)
    print(f"{tables}\n\n{PUBLISHED}\n")
    smoothing = RandomizedSmoothing(sigma=options.sigma, n=options.n)
    certified = robustness.certified_accuracy(smoothing, images=chosen[:: options.certify])
    print(certified)
    if options.picture is not None:
        charts = figure.beside(figure.chart(tables.chart), figure.chart(certified.chart))
        figure.save(figure.below(charts, pictured(robustness, tables[0])), options.picture)


def pictured(robustness: Robustness, table: VoteTable) -> Image.Image:
    """One image under each noise as the three voters see it, with what each says; one that the vote recovers, if there is any."""
    noisy = table.evaluations[2].outcomes
    recovered = (own.image for own in noisy if own.correct and own.votes[0] not in own.accepted)
    image = next(recovered, noisy[0].image)
    outcomes = [next(own for own in level.outcomes if own.image == image) for level in table.evaluations]
    shown = robustness.engine.shown([(image, sigma) for sigma in SIGMAS], GaussianNoise())
    columns = []
    for sigma, outcome, picture in zip(SIGMAS, outcomes, (p for _, batch in shown for p in batch.images), strict=True):
        views = (picture, once := gaussian_blur(picture.unsqueeze(0))[0], gaussian_blur(once.unsqueeze(0))[0])
        tiles = (
            figure.tile(figure.from_tensor(view), [f"{voter}: {vote}"], width=128)
            for view, voter, vote in zip(views, table.voters, outcome.votes, strict=True)
        )
        columns.append(
            figure.titled(f"sigma {sigma:g}: {outcome.predicted or 'rejected'}", figure.below(*tiles, gap=2))
        )
    return figure.titled(image, figure.beside(*columns))


if __name__ == "__main__":
    sys.exit(status(main))
