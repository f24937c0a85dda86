"""Weights from files, without ever running what is in them: safetensors, and pickles of nothing but tensors.

The one door to safetensors.
"""

import hashlib
import importlib
import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pytest_robustness.errors import InputError

__all__ = ["check_digest", "load_state", "read_state"]

_NAMED = 3
# What training scripts put weights into, beside the epoch and the optimizer.
_INSIDE = ("state_dict", "model_state_dict", "model", "state_dict_ema", "weights")
# What wrappers put in front of every name.
_PREFIXES = ("module.", "_orig_mod.", "model.")


def check_digest(paths: Sequence[Path], sha256: str | None) -> None:
    """Refuse files whose SHA-256, of all of them in the order of their names, is not the pinned one; None pins nothing."""
    if sha256 is None:
        return
    wanted = sha256.removeprefix("sha256:").lower()
    if len(wanted) != 64 or set(wanted) - set("0123456789abcdef"):
        raise InputError(f"expected sha256 as 64 hex digits, got {sha256!r}; sha256sum prints it")
    total = hashlib.sha256()
    for path in sorted(paths):
        with path.open("rb") as file:
            while chunk := file.read(2**20):
                total.update(chunk)
    if total.hexdigest() != wanted:
        names = ", ".join(map(str, sorted(paths)))
        raise InputError(
            f"{names}: expected sha256 {wanted}, got {total.hexdigest()}; the file is another one than was pinned: fetch it again, or "
            "pin this one if you trust it"
        )


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a state dict by name: of a `.safetensors` file, or of one that torch.save wrote.

    A pickle is read by torch's `weights_only`, which builds tensors and nothing else. Of a checkpoint with more than the weights,
    those under `state_dict` or `model` are taken; a prefix that all names share, as `module.`, is taken off. Raises InputError for a
    file that is missing, holds anything but weights, or can't be read.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a file of weights, found none; check the path")
    read = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    while not _is_state(read):
        inside = next((read[name] for name in _INSIDE if isinstance(read, Mapping) and name in read), None)
        if inside is None:
            kind = f"a mapping with {_some(list(read))}" if isinstance(read, Mapping) else type(read).__name__
            raise InputError(f"{path}: expected weights by name, got {kind}; save model.state_dict()")
        read = inside
    state = dict(read)
    for prefix in _PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def load_state(model: nn.Module, path: Path, architecture: str) -> None:
    """Put the weights of this file into the model, all of them and no others.

    Raises InputError as `read_state` does, and, naming the first of them, for weights that are missing, that the model has no place
    for, or whose shape is another.
    """
    state, own = read_state(path), model.state_dict()
    missing, others = [name for name in own if name not in state], [name for name in state if name not in own]
    shapes = [
        f"{name} of shape {tuple(state[name].shape)} for {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if missing or others or shapes:
        wrong = [
            f"{len(found)} {what} ({_some(found)})"
            for found, what in ((missing, "missing"), (others, "unknown"), (shapes, "of other shapes"))
            if found
        ]
        hint = "; for another number of classes give classes=" if shapes and not (missing or others) else ""
        raise InputError(f"{path}: expected the weights of {architecture}, got others: {', '.join(wrong)}{hint}")
    model.load_state_dict(state)


def _safetensors(path: Path) -> Any:
    try:
        library = importlib.import_module("safetensors.torch")
    except ImportError:
        raise InputError(f"{path}: expected safetensors to be installed; pip install safetensors") from None
    try:
        return library.load_file(path)
    except Exception as error:  # of a class that safetensors does not export
        raise InputError(f"{path}: expected a whole safetensors file, got one that can't be read ({error})") from None


def _pickled(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # Of what it refuses, torch tells in other ways too.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        first = str(error).strip().partition("\n")[0][:200]
        raise InputError(
            f"{path}: expected a file with nothing but weights, got one that torch.load(weights_only=True) refuses ({first}); save "
            "model.state_dict(), not the model, or use safetensors"
        ) from None


def _is_state(read: object) -> bool:
    return (
        isinstance(read, Mapping)
        and bool(read)
        and all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in read.items())
    )


def _some(names: Sequence[object]) -> str:
    return ", ".join(str(name) for name in names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
