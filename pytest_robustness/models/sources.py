"""Where a model is, as one string, and the function that loads it."""

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import nn

from pytest_robustness.classes import nearest, read_classes
from pytest_robustness.errors import InputError
from pytest_robustness.models.exported import from_export, from_onnx, from_torchscript
from pytest_robustness.models.libraries import from_timm, from_torchvision, from_transformers
from pytest_robustness.models.loaded import LoadedModel
from pytest_robustness.models.states import check_digest, load_state
from pytest_robustness.models.wanted import Declared, Wanted
from pytest_robustness.preprocessing import Interpolation, Preprocessing

__all__ = ["load_model"]


def _from_factory(wanted: Wanted) -> LoadedModel:
    """`package.module:factory`: what the function returns when it is called without an argument."""
    module_name, _, name = wanted.text.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), name)
    except ImportError as error:
        raise InputError(
            f"{wanted.text}: expected a module that can be imported, got {error}; run from the project's root, or install it"
        ) from None
    except AttributeError:
        known = [own for own in dir(importlib.import_module(module_name)) if not own.startswith("_")]
        raise InputError(
            f"{wanted.text}: expected a function {name} in {module_name}, found none{nearest(name, known)}"
        ) from None
    model = factory() if not isinstance(factory, nn.Module) else factory
    if not isinstance(model, nn.Module):
        raise InputError(
            f"{wanted.text}: expected it to return an nn.Module, got {type(model).__name__}; a function that is a model goes into the "
            "fixture robustness_model"
        )
    if wanted.state is not None:
        check_digest([wanted.state], wanted.sha256)
        load_state(model, wanted.state, wanted.text)
    elif wanted.sha256 is not None:
        raise InputError(f"{wanted.text}: expected state= beside sha256=, as a factory has no file to pin")
    if isinstance(model, LoadedModel):
        preprocessing, classes, inner = model.preprocessing, model.classes, model.inner
    else:
        preprocessing, classes, inner = Preprocessing(), (), model
    return LoadedModel(
        inner, source=wanted.text, preprocessing=wanted.preprocessing(preprocessing), classes=wanted.named(classes)
    )


_SCHEMES: Mapping[str, Callable[[Wanted], LoadedModel]] = {
    "torchvision": from_torchvision,
    "timm": from_timm,
    "hf": from_transformers,
    "export": from_export,
    "torchscript": from_torchscript,
    "onnx": from_onnx,
}
_BY_SUFFIX: Mapping[str, str] = {
    ".pt2": "export",
    ".onnx": "onnx",
    ".pt": "torchscript",
    ".pth": "torchscript",
    ".ts": "torchscript",
    ".torchscript": "torchscript",
}


def load_model(
    source: str,
    *,
    state: str | Path | None = None,
    sha256: str | None = None,
    classes: Sequence[str] | str | Path = (),
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    resize: int | tuple[int, int] | None = None,
    crop: int | tuple[int, int] | None = None,
    interpolation: Interpolation | None = None,
) -> LoadedModel:
    """The classifier that a string names, on the CPU, with its normalisation inside and its preprocessing beside it.

    torchvision:resnet50            torchvision's, its default weights; torchvision:resnet50@IMAGENET1K_V1 for others
    timm:darknet53                  timm's; timm:darknet53.c2ns_in1k for named weights, timm:<folder> as timm saves it
    hf:microsoft/resnet-50          of transformers, or hf:<folder>; hf:name@revision for one
    model.pt2, model.pt             of torch.export; of TorchScript
    model.onnx                      by onnxruntime: no gradients
    package.module:factory          what a function of yours returns

    `state` is a file of weights, safetensors or a state dict, in place of the source's own. `sha256` pins the file that is
    read. `classes` are the names of the outputs, or the path of a file with them. `mean`, `std` (on the [0, 1] scale), `resize`, `crop` and
    `interpolation` are declared in place of what the source says. Nothing but tensors is ever unpickled.

    Raises InputError, naming the source, for whatever is not there or is something else.
    """
    if not isinstance(source, str) or not source:
        raise InputError(f"expected the source of a model as a string, such as torchvision:resnet50, got {source!r}")
    declared = Declared(
        mean=None if mean is None else tuple(mean),
        std=None if std is None else tuple(std),
        resize=resize,
        crop=crop,
        interpolation=interpolation,
    )
    scheme, name = _parsed(source)
    name, _, weights = name.partition("@") if scheme in ("torchvision", "hf") else (name, "", "")
    wanted = Wanted(
        text=source,
        name=name,
        weights=weights,
        state=None if state is None else Path(state),
        sha256=sha256,
        classes=read_classes(classes).names if isinstance(classes, (str, Path)) else tuple(classes),
        declared=declared,
    )
    return _SCHEMES.get(scheme, _from_factory)(wanted)


def _parsed(source: str) -> tuple[str, str]:
    """The scheme and what follows it; `factory` for what names a function."""
    scheme, colon, rest = source.partition(":")
    if colon and scheme in _SCHEMES:
        return scheme, rest
    suffix = Path(source).suffix.lower()
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix], source
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", source):
        return "factory", source
    raise InputError(
        f"{source}: expected {', '.join(f'{name}:...' for name in _SCHEMES)}, a file that ends in {', '.join(_BY_SUFFIX)}, or "
        f"package.module:factory, got neither{nearest(scheme, list(_SCHEMES)) if colon else ''}"
    )
