"""Changes of a model are seen, whatever way they take, and nothing is left behind."""

import gc
import weakref

import torch
from torch import nn
from torch.nn.modules import module as hooks

from pytest_robustness.changes import Changes


def registered() -> int:
    return sum(
        len(kind)
        for kind in (
            hooks._global_parameter_registration_hooks,
            hooks._global_buffer_registration_hooks,
            hooks._global_module_registration_hooks,
        )
    )


def test_what_happens_to_another_model_is_no_change() -> None:
    model, other = nn.Linear(2, 2), nn.Linear(2, 2)
    changes = Changes(model)
    other.weight.data.zero_()
    other.weight = nn.Parameter(torch.ones(2, 2))
    with torch.no_grad():
        other.bias.add_(1)
    assert not changes.seen()


def test_every_change_is_seen_until_the_model_is_looked_at() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    changes = Changes(model)
    model[1] = nn.Linear(2, 2)
    assert changes.seen()
    assert changes.seen()
    changes.look()
    assert not changes.seen()
    # A part that came later is watched as the others are.
    with torch.no_grad():
        model[1].bias.add_(1)
    assert changes.seen()


def test_hooks_and_models_are_let_go() -> None:
    # Those of other tests go when they like.
    gc.collect()
    before = registered()
    model = nn.Linear(2, 2)
    changes = Changes(model)
    assert registered() == before + 3
    gone = weakref.ref(model)
    del model, changes
    gc.collect()
    assert gone() is None
    assert registered() == before
