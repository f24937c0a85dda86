"""What a run changes of a model and of torch itself, and puts back, also after an error."""

import contextlib
import functools
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

__all__ = ["deterministic_algorithms", "frozen", "tf32"]

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextlib.contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """The model in eval mode, no parameter asking for a gradient."""
    training = [(module, module.training) for module in model.modules()]
    # Tensors of inference mode never get a gradient, and outside of it torch lets no one say again that they need one.
    learning = [p for p in model.parameters() if p.requires_grad and (is_lazy(p) or not p.is_inference())]
    try:
        # One by one, not model.eval(): a model may override it to keep parts in train mode.
        for module, _ in training:
            module.training = False
        for parameter in learning:
            # By assignment, as a lazy parameter has no methods yet.
            parameter.requires_grad = False
        yield
    finally:
        for module, mode in training:
            module.training = mode
        for parameter in learning:
            parameter.requires_grad = True


@contextlib.contextmanager
def deterministic_algorithms() -> Iterator[None]:
    """torch's deterministic algorithms, where it has some; where it has none, another one runs as before."""
    cudnn = torch.backends.cudnn
    accessors = [_accessors(cudnn, name) for name in ("deterministic", "benchmark")]
    before = [(write, read()) for read, write in accessors]
    mode = torch.get_deterministic_debug_mode()
    # What cuBLAS asks for in order to say the same twice.
    workspace = os.environ.get(_WORKSPACE)
    os.environ.setdefault(_WORKSPACE, ":4096:8")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*deterministic")
            # Not by use_deterministic_algorithms, which imports the compiler.
            torch.set_deterministic_debug_mode("warn")
            for (write, _), value in zip(before, (True, False), strict=True):
                write(value)
            yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        for write, found in before:
            write(found)
        if workspace is None:
            os.environ.pop(_WORKSPACE, None)


@contextlib.contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """TF32 in matrix products and convolutions on CUDA, or none.

    torch has an older and, since 2.9, a newer set of names for it; it refuses the older one once the two say different
    things.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    mkldnn: Any = torch.backends.mkldnn
    owners = (matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul) if hasattr(cudnn, "conv") else ()
    newer = [_accessors(owner, "fp32_precision") for owner in owners]
    older: list[tuple[Callable[[], Any], Callable[[Any], None]]] = [
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        _accessors(cudnn, "allow_tf32"),
    ]
    before = [(write, read()) for read, write in newer]
    # The newer ones also where both agree: what the older ones leave open follows torch.backends.fp32_precision.
    switched: list[tuple[Callable[[Any], None], Any]] = [
        (write, "tf32" if allowed else "ieee") for _, write in newer[:3]
    ]
    try:
        before = [(write, read()) for read, write in older] + before
        switched = [(older[0][1], "high" if allowed else "highest"), (older[1][1], allowed), *switched]
    except RuntimeError:
        pass
    try:
        for write, value in switched:
            write(value)
        yield
    finally:
        for write, found in before:
            write(found)


def _accessors(owner: object, name: str) -> tuple[Callable[[], Any], Callable[[Any], None]]:
    return functools.partial(getattr, owner, name), functools.partial(setattr, owner, name)
