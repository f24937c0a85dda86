"""Models of torchvision, timm and transformers, with their own weights and what those were trained to see.

Nothing is fetched that the libraries have in their caches, and no weights are read from a pickle of anything but tensors.
"""

import importlib
import json
import math
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pytest_robustness.classes import nearest
from pytest_robustness.errors import InputError
from pytest_robustness.models.loaded import LoadedModel
from pytest_robustness.models.states import check_digest, load_state
from pytest_robustness.models.wanted import Wanted
from pytest_robustness.preprocessing import Geometry, Interpolation, Preprocessing

__all__ = ["from_timm", "from_torchvision", "from_transformers"]

# By the numbers of PIL.Image.Resampling, which transformers writes.
_FILTERS: tuple[Interpolation, ...] = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")


def from_torchvision(wanted: Wanted) -> LoadedModel:
    """`torchvision:resnet50` with its default weights, `torchvision:resnet50@IMAGENET1K_V1` with others, or with a state of one's own.

    What the model was trained to see is what the weights' own transforms say. With a state the default weights say it as well, and
    nothing is fetched; with as many classes as are named.
    """
    models = _library("torchvision", "torchvision.models", wanted)
    known = models.list_models(module=models)
    if wanted.name not in known:
        raise InputError(
            f"{wanted.text}: expected a classifier of torchvision, got {wanted.name!r}{nearest(wanted.name, known)}"
        )
    every = models.get_model_weights(wanted.name)
    name = wanted.weights or "DEFAULT"
    names = [own.name for own in every]
    if name not in (*names, "DEFAULT"):
        raise InputError(
            f"{wanted.text}: expected weights out of {', '.join(names)}, got {name!r}{nearest(name, names)}"
        )
    weights = every[name]
    transforms = weights.transforms()
    found = Preprocessing(
        Geometry(
            _one(transforms.resize_size),
            _one(transforms.crop_size),
            str(transforms.interpolation.value),  # type: ignore[arg-type]
        ),
        tuple(transforms.mean),
        tuple(transforms.std),
        origin=f"the weights {weights.name} of torchvision",
    )
    categories: Sequence[str] = weights.meta["categories"]
    if wanted.state is None:
        path = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
        _fetched(wanted, lambda: weights.get_state_dict(progress=False, check_hash=True, weights_only=True))
        check_digest([path], wanted.sha256)
        model, file = models.get_model(wanted.name, weights=None), path
    else:
        k = len(wanted.classes) or len(categories)
        model, file = models.get_model(wanted.name, weights=None, num_classes=k), wanted.state
        check_digest([file], wanted.sha256)
        categories = categories if k == len(categories) else ()
    load_state(model, file, wanted.text)
    return _loaded(model, wanted, found, categories)


def from_timm(wanted: Wanted) -> LoadedModel:
    """`timm:darknet53` with its default weights, `timm:darknet53.c2ns_in1k` with named ones, `timm:<folder>` as timm saves it.

    What the model was trained to see is what timm's own configuration of the weights says.
    """
    timm = _library("timm", "timm", wanted)
    folder = Path(wanted.name)
    if (folder / "config.json").is_file():
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        name, options, trained = (
            config["architecture"],
            dict(config.get("model_args", {})),
            config.get("pretrained_cfg", {}),
        )
        k, names, file = (
            options.pop("num_classes", config.get("num_classes", 1000)),
            config.get("label_names", ()),
            folder / "model.safetensors",
        )
    else:
        name, options, names = wanted.name, {}, ()
        if not timm.is_model(name.partition(".")[0]):
            raise InputError(
                f"{wanted.text}: expected a model of timm, or a folder with its config.json, got {name!r}"
                f"{nearest(name, timm.list_models())}"
            )
        trained = _pretrained(timm, wanted)
        k, file = trained["num_classes"], None
    k = len(wanted.classes) or k
    if wanted.state is not None:
        file = wanted.state
    elif file is None:
        file = _fetched_of_hub(wanted, trained)
    check_digest([file], wanted.sha256)
    model = timm.create_model(name, pretrained=False, num_classes=k, **options)
    load_state(model, file, wanted.text)
    told = timm.data.resolve_data_config(pretrained_cfg=trained, model=None, verbose=False)
    found = _timm_preprocessing(wanted, told, trained.get("tag") or trained.get("architecture") or name)
    return _loaded(model, wanted, found, names or _imagenet_names(timm, model, trained, k))


def from_transformers(wanted: Wanted) -> LoadedModel:
    """`hf:microsoft/resnet-50`, or `hf:<folder>`: an image classifier of transformers, in safetensors, with its own processor.

    Code of a repository is never run.
    """
    transformers = _library("transformers", "transformers", wanted)
    if wanted.state is not None:
        raise InputError(
            f"{wanted.text}: expected no state= beside a model of transformers; save it with save_pretrained and name the folder"
        )
    options: dict[str, Any] = {"trust_remote_code": False}
    if wanted.weights:
        options["revision"] = wanted.weights
    automatic = transformers.AutoModelForImageClassification
    model = _fetched(wanted, lambda: automatic.from_pretrained(wanted.name, use_safetensors=True, **options))
    processor = _fetched(wanted, lambda: transformers.AutoImageProcessor.from_pretrained(wanted.name, **options))
    check_digest(_transformers_files(wanted, options.get("revision")), wanted.sha256)
    said = processor.to_dict()
    names = tuple(str(model.config.id2label[place]) for place in range(model.config.num_labels))
    unnamed = all(name == f"LABEL_{place}" for place, name in enumerate(names))
    if wanted.classes:
        names = wanted.named(names, len(names))
    return _loaded(model, wanted, _transformers_preprocessing(wanted, said), () if unnamed else names)


def _loaded(model: nn.Module, wanted: Wanted, found: Preprocessing, names: Sequence[str]) -> LoadedModel:
    return LoadedModel(
        model.eval(), source=wanted.text, preprocessing=wanted.preprocessing(found), classes=wanted.named(names)
    )


def _library(name: str, module: str, wanted: Wanted) -> types.ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        extra = {"timm": "pytest-robustness[timm]", "transformers": "pytest-robustness[hf]"}.get(name, name)
        raise InputError(f"{wanted.text}: expected {name} to be installed ({error}); pip install '{extra}'") from None


def _fetched(wanted: Wanted, fetch: Any) -> Any:
    """What `fetch` returns; InputError, naming the source, where a library could not."""
    try:
        return fetch()
    except Exception as error:  # libraries raise whatever their transport does
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{wanted.text}: expected its files in the cache, in a folder, or to be fetched, got {type(error).__name__}: {first}; check the "
            "name and the network, or give a file with state="
        ) from None


def _one(size: Sequence[int] | int) -> int | tuple[int, int]:
    """A size as torchvision writes it: one number for the short side, or a height and a width."""
    parts = [size] if isinstance(size, int) else list(size)
    return parts[0] if len(parts) == 1 else (parts[0], parts[1])


def _pretrained(timm: types.ModuleType, wanted: Wanted) -> dict[str, Any]:
    """timm's configuration of the weights of this name, of its default ones where none are named."""
    architecture, _, tag = wanted.name.partition(".")
    known = timm.list_pretrained(f"{architecture}.*")
    if tag and wanted.name not in known:
        raise InputError(
            f"{wanted.text}: expected weights out of {', '.join(known) or 'none, as timm has none of this model'}"
            f"{nearest(wanted.name, known)}"
        )
    config = timm.get_pretrained_cfg(wanted.name)
    told: dict[str, Any] = config.to_dict()
    return told


def _fetched_of_hub(wanted: Wanted, trained: Mapping[str, Any]) -> Path:
    hub = trained.get("hf_hub_id")
    if not hub:
        raise InputError(
            f"{wanted.text}: expected weights in safetensors on the Hugging Face hub, found none; give a file with state="
        )
    library = _library("huggingface_hub", "huggingface_hub", wanted)
    return Path(_fetched(wanted, lambda: library.hf_hub_download(hub, "model.safetensors")))


def _timm_preprocessing(wanted: Wanted, told: Mapping[str, Any], tag: str) -> Preprocessing:
    _, height, width = told["input_size"]
    mode, share = told["crop_mode"], told["crop_pct"]
    scaled = math.floor(height / share), math.floor(width / share)
    if mode == "center":
        # As timm's own transform does: one number for a square, whose short side it is.
        resize = scaled[0] if height == width else scaled
    elif mode == "squash":
        resize = scaled
    else:
        raise InputError(
            f"{wanted.text}: expected a crop from the centre, got timm's crop mode {mode!r}; declare resize= and crop="
        )
    return Preprocessing(
        Geometry(resize, (height, width) if height != width else height, told["interpolation"]),
        tuple(told["mean"]),
        tuple(told["std"]),
        origin=f"timm's configuration of {tag}",
    )


def _imagenet_names(timm: types.ModuleType, model: nn.Module, trained: Mapping[str, Any], k: int) -> Sequence[str]:
    """The names of ImageNet's classes where the model has a subset of them that timm knows; none elsewhere."""
    if trained.get("label_names"):
        return tuple(trained["label_names"])
    subset = timm.data.infer_imagenet_subset(model) if hasattr(model, "num_classes") else None
    if subset is None or k != model.num_classes:
        return ()
    info = timm.data.ImageNetInfo(subset)
    return tuple(info.index_to_description(place) for place in range(k))


def _transformers_files(wanted: Wanted, revision: str | None) -> list[Path]:
    """The files that the weights were read from."""
    if wanted.sha256 is None:
        return []
    folder = Path(wanted.name)
    if not folder.is_dir():
        library = _library("huggingface_hub", "huggingface_hub", wanted)
        found = _fetched(
            wanted, lambda: library.snapshot_download(wanted.name, revision=revision, local_files_only=True)
        )
        folder = Path(found)
    return sorted(folder.glob("*.safetensors"))


def _transformers_preprocessing(wanted: Wanted, said: Mapping[str, Any]) -> Preprocessing:
    """What the dictionary of an image processor of transformers comes to."""
    scale = said.get("rescale_factor", 1 / 255) if said.get("do_rescale", True) else 1 / 255
    if abs(scale * 255 - 1) > 1e-6:
        raise InputError(
            f"{wanted.text}: expected a processor that scales pixels to [0, 1], got the factor {scale:g}; declare mean= and std= on the "
            "[0, 1] scale in a factory of your own"
        )
    size, crop = said.get("size") or {}, said.get("crop_size") or {}
    resize = _side(size) if said.get("do_resize", True) else None
    cut = _side(crop) if said.get("do_center_crop", False) else None
    share = said.get("crop_pct")
    if share and isinstance(resize, int):
        # ConvNeXt's: up to 384 pixels resized to more and cropped, above it squashed.
        resize, cut = (int(resize / share), resize) if resize < 384 else ((resize, resize), None)
    normalised = said.get("do_normalize", True)
    return Preprocessing(
        Geometry(resize, cut, _FILTERS[int(said.get("resample", 2))]),
        tuple(said["image_mean"]) if normalised else (0.0, 0.0, 0.0),
        tuple(said["image_std"]) if normalised else (1.0, 1.0, 1.0),
        origin=f"its processor {said.get('image_processor_type', '')}".rstrip(),
    )


def _side(size: Mapping[str, int] | int) -> int | tuple[int, int] | None:
    if isinstance(size, int):
        return size
    if size.get("shortest_edge"):
        return size["shortest_edge"]
    if not size.get("height"):
        return None
    return size["height"], size["width"]
