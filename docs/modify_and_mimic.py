"""Modify and mimic rates under PGD, as docs/modify_and_mimic.md shows them: `python docs/modify_and_mimic.py plain --epsilon 2`.

`plain` and `hardened` are the classifiers of the drawn pictures, all pairs; `cifar10` a published one on 1000 images, all
pairs; `photos` MobileNetV2 on 200 photos, five of the other photos' classes drawn for each. The last two need ../shared/data.
With `--store FILE` a run that is killed goes on where it was.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from material import MAKERS, asked


def main(arguments: Sequence[str]) -> int:
    """Measure and print one matrix; the exit status."""
    parser = argparse.ArgumentParser("python docs/modify_and_mimic.py", description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=list(MAKERS))
    parser.add_argument("--epsilon", type=float, required=True, metavar="N", help="in units of 1/255")
    parser.add_argument("--steps", type=int, default=20, metavar="N", help="of PGD (default: 20)")
    parser.add_argument("--store", type=Path, metavar="FILE", help="keep outcomes in this file as they come")
    options = parser.parse_args(arguments)
    model, images, batch_size, pairs = asked(options.what)
    from pytest_robustness import PGD, Engine, Robustness
    from pytest_robustness.cache import OutcomeStore

    torch.set_num_threads(1)
    store = None if options.store is None else OutcomeStore(options.store)
    robustness = Robustness(Engine(model, images, device="cpu", batch_size=batch_size, store=store))
    print(robustness.targeted_matrix(PGD(steps=options.steps), options.epsilon / 255, **pairs))
    if store is not None:
        store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
