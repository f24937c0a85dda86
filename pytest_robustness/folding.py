"""Batch norms folded into the convolutions in front of them, without touching the model for longer than a run.

At inference a batch norm is an affine map per channel, which the convolution can do itself (Jacob et al. 2018, section
3.2): one pass over the activations less, forward and backward.
"""

import collections
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

__all__ = ["Pair", "Swap", "Watch", "folded", "swapped"]

Pair: TypeAlias = tuple[nn.Conv2d, nn.BatchNorm2d]
Swap: TypeAlias = tuple[dict[str, Any], str, Any]
"""A dictionary of a module, a name in it, and the value to have there for a while."""


class Watch(TorchFunctionMode):
    """While open, sees of a model's forward which batch norms can be folded, and whether anything convolves.

    `pairs` are the convolutions whose output a batch norm takes as it is and nothing else does, each called once. By
    watching, not by symbolic tracing, which refuses forwards that depend on the images' size. What a forward does with
    the weights themselves is for the caller to check, by the answers of the folded model.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.convolves = False
        self._model = model
        self._found: list[Pair] = []
        self._calls: dict[nn.Module, int] = {}
        self._used_elsewhere: set[nn.Module] = set()
        # Kept alive, so that no other tensor takes the id of one of these.
        self._outputs: dict[int, tuple[nn.Conv2d, torch.Tensor, int]] = {}
        self._hooks = contextlib.ExitStack()

    @property
    def pairs(self) -> list[Pair]:
        normed = collections.Counter(conv for conv, _ in self._found)
        return [
            (conv, norm)
            for conv, norm in self._found
            if self._calls[conv] == self._calls[norm] == normed[conv] == 1 and conv not in self._used_elsewhere
        ]

    def __enter__(self) -> "Watch":
        for module in self._model.modules():
            # A forward or a hook of the user's own may do anything.
            if not _is_torchs_own(module):
                continue
            if isinstance(module, nn.Conv2d) and "weight" in module._parameters:
                self._hooks.callback(module.register_forward_hook(self._convolved).remove)
            elif isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
                self._hooks.callback(module.register_forward_pre_hook(self._normed).remove)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)  # type: ignore[no-untyped-call]
        self._hooks.close()
        self._outputs.clear()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.convolves = self.convolves or func is torch.conv2d
        given = [self._outputs[id(leaf)] for leaf in tree_leaves((args, kwargs)) if id(leaf) in self._outputs]
        result = func(*args, **(kwargs or {}))
        # Not those that only look at its shape.
        if given and getattr(func, "__name__", "") != "batch_norm" and _holds_tensor(result):
            self._used_elsewhere.update(conv for conv, _, _ in given)
        return result

    def _convolved(self, module: nn.Module, _: object, output: object) -> None:
        self._calls[module] = self._calls.get(module, 0) + 1
        if isinstance(module, nn.Conv2d) and isinstance(output, torch.Tensor):
            self._outputs[id(output)] = (module, output, output._version)

    def _normed(self, module: nn.Module, inputs: tuple[object, ...]) -> None:
        self._calls[module] = self._calls.get(module, 0) + 1
        found = self._outputs.get(id(inputs[0])) if inputs else None
        # The same tensor, and not written to in between, as by an activation in place.
        if isinstance(module, nn.BatchNorm2d) and found is not None and found[1]._version == found[2]:
            self._found.append((found[0], module))


def _is_torchs_own(module: nn.Module) -> bool:
    kind = type(module)
    if isinstance(module, nn.Conv2d) and type(module)._conv_forward is not nn.Conv2d._conv_forward:
        return False
    return (
        kind.forward in (nn.Conv2d.forward, nn.BatchNorm2d.forward)
        and "forward" not in vars(module)
        and not module._forward_hooks
        and not module._forward_pre_hooks
    )


def _holds_tensor(result: object) -> bool:
    return any(isinstance(leaf, torch.Tensor) for leaf in tree_leaves(result))


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> list[Swap]:
    """What to swap so that the convolution does the batch norm's work too and the batch norm nothing."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    doubles = (
        None if value is None else value.detach().double()
        for value in (conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    weight, bias, mean, variance, scale, shift = doubles
    assert weight is not None
    weight, bias = fuse_conv_bn_weights(weight, bias, mean, variance, norm.eps, scale, shift)  # type: ignore[arg-type]
    weight = weight.to(conv.weight.dtype).contiguous(memory_format=torch.channels_last)
    return [
        (conv._parameters, "weight", nn.Parameter(weight, requires_grad=False)),
        (conv._parameters, "bias", nn.Parameter(bias.to(conv.weight.dtype), requires_grad=False)),
        (vars(norm), "forward", _as_it_is),
    ]


def _as_it_is(images: torch.Tensor) -> torch.Tensor:
    return images


@contextlib.contextmanager
def swapped(swaps: Sequence[Swap]) -> Iterator[None]:
    """Entries of modules' dictionaries replaced, and put back or removed again in reverse."""
    missing = object()
    found = [(entries, name, entries.get(name, missing)) for entries, name, _ in swaps]
    try:
        for entries, name, value in swaps:
            entries[name] = value
        yield
    finally:
        for entries, name, value in reversed(found):
            if value is missing:
                entries.pop(name, None)
            else:
                entries[name] = value
