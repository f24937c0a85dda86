"""Models that were saved whole: of torch.export, of TorchScript, and ONNX files.

The one door to onnxruntime. No file is unpickled: archives of torch.export that hold a pickle of anything but tensors are refused
before torch sees them.
"""

import hashlib
import importlib
import io
import json
import pickle
import re
import types
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pytest_robustness.errors import InputError
from pytest_robustness.models.loaded import LoadedModel
from pytest_robustness.models.states import check_digest
from pytest_robustness.models.wanted import Wanted
from pytest_robustness.preprocessing import Preprocessing
from pytest_robustness.types import Images, Logits

__all__ = ["OnnxClassifier", "from_export", "from_onnx", "from_torchscript", "is_torchscript"]

# What an archive may hold that nobody unpickles.
_INERT = re.compile(
    r"(archive_format|archive_version|byteorder|version|\.data/.*|\.format_version|\.storage_alignment|models/[^/]+\.json"
    r"|data/(weights|constants)/(weight_\d+|tensor_\d+|[^/]+_config\.json)|serialized_exported_program\.json|extra/.*)"
)
_OF_TENSORS = re.compile(r"(data/sample_inputs/[^/]+|serialized_(state_dict|constants|example_inputs))\.pt")


def from_export(wanted: Wanted) -> LoadedModel:
    """A `.pt2` file of torch.export, with a batch of any size; its preprocessing is what is declared."""
    path = _file(wanted)
    _check_archive(path)
    try:
        with warnings.catch_warnings():
            # An older torch unpickles whatever it finds: here it finds tensors.
            warnings.filterwarnings("ignore", message=".*weights_only=False", category=FutureWarning)
            module = torch.export.load(path).module()
    except Exception as error:  # whatever torch finds in it
        raise InputError(
            f"{path}: expected a program of torch.export, got one that can't be loaded ({_first(error)})"
        ) from None
    return _declared(_Program(module), wanted)


def from_torchscript(wanted: Wanted) -> LoadedModel:
    """A TorchScript file; its preprocessing is what is declared."""
    path = _file(wanted)
    if not is_torchscript(path):
        raise InputError(
            f"{path}: expected a TorchScript file, got something else; weights alone need an architecture: torchvision:resnet50 with "
            f"state={path.name}"
        )
    try:
        with warnings.catch_warnings():
            # That torch would rather have torch.export is for those who write such files.
            warnings.filterwarnings("ignore", message=".*torch.jit.load.* is deprecated")
            return _declared(torch.jit.load(path, map_location="cpu").eval(), wanted)  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise InputError(
            f"{path}: expected a whole TorchScript file, got one that can't be loaded ({_first(error)})"
        ) from None


def is_torchscript(path: Path) -> bool:
    """Whether a file is an archive with code, as TorchScript's are and those of weights alone are not."""
    try:
        names = [name.partition("/")[2] for name in zipfile.ZipFile(path).namelist()]
    except (OSError, zipfile.BadZipFile):
        return False
    return any(name.startswith("code/") for name in names)


def from_onnx(wanted: Wanted) -> LoadedModel:
    """An ONNX file, run by onnxruntime; its preprocessing is what is declared. It has no gradients."""
    return _declared(OnnxClassifier(_file(wanted)), wanted)


class OnnxClassifier(nn.Module):
    """An ONNX model with one input, images (n, 3, h, w), and logits as its first output.

    Gradient attacks are refused in a sentence. It runs on the CPU, and on CUDA where onnxruntime is built for it. Raises InputError
    for a file that is no such model.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        library = _onnxruntime(path)
        known = library.get_available_providers()
        providers = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in known]
        try:
            self._session = library.InferenceSession(str(path), providers=providers)
        except Exception as error:  # of a class that onnxruntime does not export
            raise InputError(
                f"{path}: expected an ONNX model, got one that can't be loaded ({_first(error)})"
            ) from None
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if inputs else []
        if len(inputs) != 1 or len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
            told = ", ".join(f"{own.name} {own.shape}" for own in inputs)
            raise InputError(f"{path}: expected one input of images, (n, 3, h, w), got {told or 'none'}")
        self._input, self._type = inputs[0].name, inputs[0].type
        self._batch = shape[0] if isinstance(shape[0], int) else None
        # By which the model is told from others: onnxruntime keeps the weights to itself.
        digest = torch.frombuffer(bytearray(hashlib.sha256(path.read_bytes()).digest()), dtype=torch.uint8)
        self.register_buffer("digest", digest.clone())

    def forward(self, images: Images) -> Logits:
        """The logits of images as the file takes them."""
        if torch.is_grad_enabled() and images.requires_grad:
            raise InputError(
                f"{self.path}: expected a model with gradients for this attack, got an ONNX file, which has none; use Square() or a "
                "perturbation, or load the model that the file was exported from"
            )
        parts = [images] if self._batch is None else torch.split(images, self._batch)
        return torch.cat([self._run(part) for part in parts])

    def _run(self, images: Images) -> Logits:
        n = len(images)
        if self._batch is not None and n < self._batch:
            images = torch.cat([images, images[:1].expand(self._batch - n, -1, -1, -1)])
        dtype = torch.float16 if "float16" in self._type else torch.float32
        answer, *_ = self._session.run(None, {self._input: images.detach().to("cpu", dtype).numpy()})
        return torch.from_numpy(answer)[:n].to(images.device).float()


class _Program(nn.Module):
    """A program of torch.export, which has no modes to be put into."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, images: Images) -> Any:
        """What the program answers."""
        return self.program(images)


def _declared(model: nn.Module, wanted: Wanted) -> LoadedModel:
    preprocessing = wanted.preprocessing(Preprocessing())
    return LoadedModel(model, source=wanted.text, preprocessing=preprocessing, classes=wanted.classes)


def _file(wanted: Wanted) -> Path:
    path = Path(wanted.name)
    if not path.is_file():
        raise InputError(f"{path}: expected a model file, found none; check the path")
    if wanted.state is not None:
        raise InputError(f"{wanted.text}: expected no state= beside a file that has its own weights; leave it out")
    beside = Path(f"{path}.data")
    check_digest([path, *[beside] * beside.is_file()], wanted.sha256)
    return path


def _check_archive(path: Path) -> None:
    """Refuse an archive of torch.export in which torch would unpickle anything but tensors, or load a library."""
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile:
        raise InputError(f"{path}: expected a file of torch.export.save, got no archive") from None
    with archive:
        for name in archive.namelist():
            # All are in a folder, but in files of older versions.
            inside = name.partition("/")[2] if not _INERT.fullmatch(name) and not _OF_TENSORS.fullmatch(name) else name
            if _OF_TENSORS.fullmatch(inside):
                try:
                    torch.load(io.BytesIO(archive.read(name)), weights_only=True)
                except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
                    raise InputError(
                        f"{path}: expected nothing but tensors in {name}, got a pickle of more ({_first(error)})"
                    ) from None
            elif not _INERT.fullmatch(inside):
                raise InputError(
                    f"{path}: expected weights and a program, got {name} as well, which may run code; export it anew"
                )
            elif inside.endswith("_config.json"):
                config = json.loads(archive.read(name)).get("config", {})
                pickled = [key for key, own in config.items() if own.get("use_pickle") or key.startswith("custom_obj")]
                pickled += [key for key, own in config.items() if "custom_obj" in str(own.get("path_name", ""))]
                if pickled:
                    raise InputError(
                        f"{path}: expected plain tensors, got {pickled[0]} as a pickle, which may run code; export it anew"
                    )


def _onnxruntime(path: Path) -> types.ModuleType:
    try:
        return importlib.import_module("onnxruntime")
    except ImportError:
        raise InputError(
            f"{path}: expected onnxruntime to be installed; pip install 'pytest-robustness[onnx]'"
        ) from None


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
