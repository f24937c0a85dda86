"""Models from one string, each loaded by its real library from a small file made here."""

import functools
import hashlib
import importlib
import io
import json
import os
import pickle
import re
import shutil
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image
from torch import nn

from pytest_robustness import FGSM, Engine, GateFailed, GaussianNoise, Robustness, Square, labelled_images
from pytest_robustness.errors import InputError
from pytest_robustness.fingerprint import weights_digest
from pytest_robustness.images import Reading, read_image
from pytest_robustness.models import LoadedModel, load_model
from pytest_robustness.preprocessing import Geometry, Preprocessing


class Small(nn.Module):
    """Three classes out of images of any size, with a batch norm whose statistics count."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, classes)
        with torch.no_grad():
            self.norm.running_mean.copy_(torch.linspace(-1, 1, 4))  # type: ignore[union-attr]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.conv(images)).relu().mean((2, 3)))


def small() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Small().eval()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A photo-like file that is no square."""
    levels = numpy.clip(numpy.random.default_rng(0).normal(120, 60, (61, 83, 3)), 0, 255).astype(numpy.uint8)
    path = tmp_path / "picture.png"
    Image.fromarray(levels).resize((330, 240), Image.Resampling.BICUBIC).save(path)
    return path


def images(n: int = 3, size: int = 8) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def refusal(source: str, **settings: Any) -> str:
    with pytest.raises(InputError) as error:
        load_model(source, **settings)
    return str(error.value)


def test_a_loaded_model_normalises_by_itself() -> None:
    inner = small()
    model = LoadedModel(
        inner, source="here", preprocessing=Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)), classes=("a", "b")
    )
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7)))
    assert torch.equal(model(images()), inner((images() - mean) / std))
    assert list(model.state_dict()) == [f"inner.{name}" for name in inner.state_dict()]
    assert model.classes == ("a", "b")


def test_a_model_that_returns_no_logits_is_refused() -> None:
    class Pair(nn.Module):
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return images, images

    with pytest.raises(InputError) as error:
        LoadedModel(Pair(), source="pair.py", preprocessing=Preprocessing())(images())
    assert str(error.value) == (
        "pair.py: expected a model that returns logits, or has them in .logits, got tuple; wrap it in a factory that returns them"
    )


# Factories and states


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "their_models.py").write_text(
        "from tests.test_models import small\n"
        "def build():\n    return small()\n"
        "def function():\n    return lambda images: images\n"
        "ready = small()\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "their_models", raising=False)
    return "their_models:build"


def test_a_factory_is_called_and_what_is_declared_of_its_model_is_done(factory: str) -> None:
    model = load_model(factory, classes=["a", "b", "c"], mean=[0.5] * 3, std=[0.25] * 3, crop=8)
    assert torch.equal(model(images()), small()((images() - 0.5) / 0.25))
    assert model.preprocessing == Preprocessing(Geometry(crop=8), (0.5,) * 3, (0.25,) * 3, origin="declared")
    assert (model.source, model.classes) == (factory, ("a", "b", "c"))
    assert torch.equal(load_model("their_models:ready")(images()), small()(images()))
    assert load_model(factory).preprocessing == Preprocessing()


def test_a_factory_that_is_not_there_or_makes_no_module_is_refused(factory: str) -> None:
    assert refusal("their_models:buidl") == (
        "their_models:buidl: expected a function buidl in their_models, found none; did you mean 'build'?"
    )
    assert refusal("nowhere.models:build") == (
        "nowhere.models:build: expected a module that can be imported, got No module named 'nowhere'; run from the project's root, or "
        "install it"
    )
    assert refusal("their_models:function") == (
        "their_models:function: expected it to return an nn.Module, got function; a function that is a model goes into the fixture "
        "robustness_model"
    )
    assert (
        refusal(factory, sha256="0" * 64)
        == f"{factory}: expected state= beside sha256=, as a factory has no file to pin"
    )


@pytest.mark.parametrize("form", ["safetensors", "plain", "checkpoint", "parallel"])
def test_weights_are_taken_from_a_file_of_any_usual_form(factory: str, tmp_path: Path, form: str) -> None:
    other = Small().eval()
    state = other.state_dict()
    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pth")
    if form == "safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    elif form == "plain":
        torch.save(state, path)
    elif form == "checkpoint":
        torch.save({"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}}, path)
    else:
        torch.save({"model": {f"module.{name}": value for name, value in state.items()}}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert torch.equal(load_model(factory, state=path, sha256=digest)(images()), other(images()))
    assert torch.equal(load_model(factory, state=path, sha256=f"sha256:{digest.upper()}")(images()), other(images()))
    assert refusal(factory, state=path, sha256="ab" * 32) == (
        f"{path}: expected sha256 {'ab' * 32}, got {digest}; the file is another one than was pinned: fetch it again, or pin this one if you "
        "trust it"
    )


def test_what_is_no_digest_is_refused(factory: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(small().state_dict(), path)
    assert refusal(factory, state=path, sha256="abc") == (
        "expected sha256 as 64 hex digits, got 'abc'; sha256sum prints it"
    )


def test_weights_of_another_model_are_refused_and_named(factory: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(Small(5).state_dict(), path)
    assert refusal(factory, state=path) == (
        f"{path}: expected the weights of {factory}, got others: 2 of other shapes (head.weight of shape (5, 4) for (3, 4), head.bias of "
        "shape (5,) for (3,)); for another number of classes give classes="
    )
    torch.save({"conv.weight": torch.zeros(4, 3, 3, 3), "tail": torch.zeros(1)}, path)
    assert refusal(factory, state=path) == (
        f"{path}: expected the weights of {factory}, got others: 8 missing (conv.bias, norm.weight, norm.bias, ...), 1 unknown (tail)"
    )


class Trap:
    """What a pickle does that runs code."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_no_pickle_of_anything_but_weights_is_read(factory: str, tmp_path: Path) -> None:
    path, mark = tmp_path / "weights.pth", tmp_path / "ran"
    for save in (lambda: torch.save({"w": Trap(mark)}, path), lambda: path.write_bytes(pickle.dumps(Trap(mark)))):
        save()
        said = refusal(factory, state=path)
        assert said.startswith(
            f"{path}: expected a file with nothing but weights, got one that torch.load(weights_only=True) refuses ("
        )
        assert said.endswith("); save model.state_dict(), not the model, or use safetensors")
        assert not mark.exists()
    torch.save(small(), path)
    assert refusal(factory, state=path).startswith(f"{path}: expected a file with nothing but weights")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "expected a file of weights, found none; check the path"),
        ({"epoch": 1, "lr": 0.5}, "expected weights by name, got a mapping with epoch, lr; save model.state_dict()"),
        ([torch.zeros(1)], "expected weights by name, got list; save model.state_dict()"),
    ],
)
def test_a_file_without_weights_is_refused(factory: str, tmp_path: Path, content: object, said: str) -> None:
    path = tmp_path / "weights.pth"
    if content is not None:
        torch.save(content, path)
    assert refusal(factory, state=path) == f"{path}: {said}"


def test_a_broken_safetensors_file_is_refused(factory: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"not one")
    assert refusal(factory, state=path).startswith(
        f"{path}: expected a whole safetensors file, got one that can't be read ("
    )


# Exported files


def as_onnx(model: nn.Module, batch: int | None) -> bytes:
    """The small model node by node: torch's own export, which writes the same nodes, takes half a minute."""
    onnx = pytest.importorskip("onnx")
    weights = {name.replace(".", "_"): value.numpy() for name, value in model.state_dict().items() if value.dim()}
    norm = [f"norm_{name}" for name in ("weight", "bias", "running_mean", "running_var")]
    make = onnx.helper.make_node
    nodes = [
        make("Conv", ["images", "conv_weight", "conv_bias"], ["a"]),
        make("BatchNormalization", ["a", *norm], ["b"]),
        make("Relu", ["b"], ["c"]),
        make("GlobalAveragePool", ["c"], ["d"]),
        make("Flatten", ["d"], ["e"]),
        make("Gemm", ["e", "head_weight", "head_bias"], ["logits"], transB=1),
    ]
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("images", [batch or "n", 3, None, None]), ("logits", [batch or "n", 3]))
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "small",
        values[:1],
        values[1:],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    # As old as any runtime reads.
    whole = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(whole)
    return bytes(whole.SerializeToString())


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int | None], Path]:
    """The small model as exported files, each made once: it takes seconds."""
    folder = tmp_path_factory.mktemp("exported")

    @functools.cache
    def export(suffix: str, batch: int | None) -> Path:
        path, model = folder / f"small{batch or ''}{suffix}", small()
        shapes = None if batch else ({0: torch.export.Dim("n")},)
        example = (images(batch or 2),)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if suffix == ".pt2":
                torch.export.save(torch.export.export(model, example, dynamic_shapes=shapes), path)
            elif suffix == ".onnx":
                path.write_bytes(as_onnx(model, batch))
            else:
                torch.jit.script(model).save(str(path))
        return path

    return export


@pytest.fixture
def exported(originals: Callable[[str, int | None], Path], tmp_path: Path) -> Callable[..., Path]:
    def copied(suffix: str, batch: int | None = None) -> Path:
        return Path(shutil.copy(originals(suffix, batch), tmp_path / f"small{suffix}"))

    return copied


@pytest.mark.parametrize("suffix", [".pt2", ".pt", ".ts", ".onnx"])
def test_an_exported_model_says_what_the_model_says(exported: Callable[[str], Path], suffix: str) -> None:
    path = exported(suffix)
    model = load_model(str(path), mean=[0.5] * 3, std=[0.25] * 3, classes=["a", "b", "c"])
    for n in (1, 5):
        with torch.no_grad():
            assert torch.allclose(model(images(n)), small()((images(n) - 0.5) / 0.25), atol=1e-5)
    assert model.preprocessing.origin == "declared"
    assert model.classes == ("a", "b", "c")


@pytest.mark.parametrize("suffix", [".pt2", ".pt"])
def test_an_exported_model_has_the_models_gradients(exported: Callable[[str], Path], suffix: str) -> None:
    ours, theirs = images().requires_grad_(), images().requires_grad_()
    load_model(str(exported(suffix)))(ours)[:, 0].sum().backward()
    small()(theirs)[:, 0].sum().backward()
    assert ours.grad is not None
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-6)


def test_an_onnx_file_has_no_gradients_and_says_what_to_use_instead(exported: Callable[[str], Path]) -> None:
    path = exported(".onnx")
    with pytest.raises(InputError) as error:
        load_model(str(path))(images().requires_grad_())
    assert str(error.value) == (
        f"{path}: expected a model with gradients for this attack, got an ONNX file, which has none; use Square() or a perturbation, or load "
        "the model that the file was exported from"
    )


def test_an_onnx_file_of_one_batch_size_is_asked_in_batches_of_it(exported: Callable[..., Path]) -> None:
    model = load_model(str(exported(".onnx", 4)))
    for n in (1, 4, 6):
        with torch.no_grad():
            assert torch.allclose(model(images(n)), small()(images(n)), atol=1e-5)


def test_onnx_files_are_told_apart_by_their_bytes(exported: Callable[..., Path]) -> None:
    digests = [weights_digest(load_model(str(exported(".onnx", batch)))) for batch in (None, None, 4)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("suffix", [".pt2", ".pt", ".onnx"])
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"broken{suffix}"
    assert refusal(str(path)) == f"{path}: expected a model file, found none; check the path"
    path.write_bytes(b"something else")
    said = {
        ".pt2": "expected a file of torch.export.save, got no archive",
        ".pt": "expected a TorchScript file, got something else; weights alone need an architecture: torchvision:resnet50 with "
        "state=broken.pt",
        ".onnx": "expected an ONNX model, got one that can't be loaded (",
    }
    assert refusal(str(path)).startswith(f"{path}: {said[suffix]}")


def test_weights_alone_are_no_model(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(small().state_dict(), path)
    assert refusal(str(path)) == (
        f"{path}: expected a TorchScript file, got something else; weights alone need an architecture: torchvision:resnet50 with "
        "state=weights.pth"
    )


def with_entry(path: Path, name: str, content: bytes) -> Path:
    """A copy of an archive with one entry more, or another one in its place."""
    changed = path.with_name(f"changed{path.suffix}")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_STORED) as new:
        folder = old.namelist()[0].partition("/")[0]
        for entry in old.namelist():
            if entry != f"{folder}/{name}":
                new.writestr(entry, old.read(entry))
        new.writestr(f"{folder}/{name}", content)
    return changed


def test_an_exported_program_that_would_unpickle_code_is_refused_before_it_does(
    exported: Callable[[str], Path], tmp_path: Path
) -> None:
    path, mark = exported(".pt2"), tmp_path / "ran"
    stream = io.BytesIO()
    torch.save([Trap(mark)], stream)
    config = json.dumps({"config": {"w": {"path_name": "weight_0", "use_pickle": True}}}).encode()
    for name, content, said in (
        ("data/sample_inputs/model.pt", stream.getvalue(), "expected nothing but tensors in "),
        ("data/weights/model.pt", stream.getvalue(), "expected weights and a program, got "),
        ("data/constants/custom_obj_0", pickle.dumps(Trap(mark)), "expected weights and a program, got "),
        ("data/aotinductor/model/model.so", b"", "expected weights and a program, got "),
        (
            "data/weights/model_weights_config.json",
            config,
            "expected plain tensors, got w as a pickle, which may run code",
        ),
    ):
        assert said in refusal(str(with_entry(path, name, content)))
        assert not mark.exists()


def test_a_state_beside_a_whole_file_is_refused(exported: Callable[[str], Path]) -> None:
    path = exported(".pt2")
    assert refusal(str(path), state="weights.pth") == (
        f"{path}: expected no state= beside a file that has its own weights; leave it out"
    )


def test_the_digest_of_a_model_file_can_be_pinned(exported: Callable[[str], Path]) -> None:
    path = exported(".pt2")
    load_model(str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    assert refusal(str(path), sha256="0" * 64).startswith(f"{path}: expected sha256 {'0' * 64}, got ")


# torchvision


@pytest.fixture
def squeezenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """A small model of torchvision, with random weights where its published ones would be cached."""
    import torchvision

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    model = torchvision.models.squeezenet1_1().eval()
    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    name = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    torch.save(model.state_dict(), checkpoints / name)
    return model


def test_a_model_of_torchvision_comes_with_the_preprocessing_of_its_weights(
    squeezenet: nn.Module, picture: Path
) -> None:
    import torchvision

    weights = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    model = load_model("torchvision:squeezenet1_1")
    assert model.preprocessing == Preprocessing(
        Geometry(256, 224, "bilinear"),
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        "the weights IMAGENET1K_V1 of torchvision",
    )
    assert model.classes == tuple(weights.meta["categories"])
    with Image.open(picture) as opened, torch.no_grad():
        theirs = squeezenet(weights.transforms()(opened)[None])
        # Resize and crop work on bytes, as torchvision's do on a picture.
        ours = model(read_image(picture, Reading(geometry=Geometry(256, 224)))[None])
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert torch.equal(load_model("torchvision:squeezenet1_1@IMAGENET1K_V1")(images(1, 64)), model(images(1, 64)))


def test_the_published_file_can_be_pinned(squeezenet: nn.Module) -> None:
    (path,) = (Path(torch.hub.get_dir()) / "checkpoints").iterdir()
    load_model("torchvision:squeezenet1_1", sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    assert refusal("torchvision:squeezenet1_1", sha256="0" * 64).startswith(f"{path}: expected sha256 ")


def test_ones_own_weights_go_into_an_architecture_with_as_many_classes_as_are_named(tmp_path: Path) -> None:
    import torchvision

    own = torchvision.models.squeezenet1_1(num_classes=3).eval()
    path = tmp_path / "own.pth"
    torch.save(own.state_dict(), path)
    model = load_model("torchvision:squeezenet1_1", state=path, classes=["a", "b", "c"], mean=[0, 0, 0], std=[1, 1, 1])
    with torch.no_grad():
        assert torch.equal(model(images(1, 64)), own(images(1, 64)))
    assert model.preprocessing.origin == "the weights IMAGENET1K_V1 of torchvision, but for what is declared"


def test_what_torchvision_does_not_have_is_refused_with_what_is_near() -> None:
    assert refusal("torchvision:resnet5") == (
        "torchvision:resnet5: expected a classifier of torchvision, got 'resnet5'; did you mean 'resnet50'?"
    )
    assert refusal("torchvision:resnet18@IMAGENET1K_V2") == (
        "torchvision:resnet18@IMAGENET1K_V2: expected weights out of IMAGENET1K_V1, got 'IMAGENET1K_V2'; did you mean 'IMAGENET1K_V1'?"
    )


def test_weights_that_can_be_fetched_from_nowhere_are_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    assert refusal("torchvision:squeezenet1_1") == (
        "torchvision:squeezenet1_1: expected its files in the cache, in a folder, or to be fetched, got OSError: no route to host; check "
        "the name and the network, or give a file with state="
    )


# timm


@pytest.fixture(scope="module")
def timm() -> Any:
    return pytest.importorskip("timm")


@pytest.fixture
def timm_folder(timm: Any, tmp_path: Path) -> Iterator[tuple[Path, nn.Module]]:
    """A small model as timm saves it for the hub."""
    model = timm.create_model("test_resnet", num_classes=3).eval()
    folder = tmp_path / "own"
    importlib.import_module("timm.models._hub").save_for_hf(
        model, folder, model_config={"label_names": ["a", "b", "c"]}, safe_serialization=True
    )
    return folder, model


def test_a_folder_of_timm_comes_with_its_preprocessing_and_its_names(
    timm: Any, timm_folder: tuple[Path, nn.Module], picture: Path
) -> None:
    folder, model = timm_folder
    loaded = load_model(f"timm:{folder}")
    assert loaded.classes == ("a", "b", "c")
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    geometry = loaded.preprocessing.geometry
    with Image.open(picture) as opened, torch.no_grad():
        theirs = model(transform(opened)[None])
    ours = loaded(prepared(picture, geometry))
    assert torch.allclose(ours, theirs, atol=1e-4)


def test_published_weights_of_timm_are_those_in_the_cache_of_the_hub(
    timm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants
    from safetensors.torch import save_file

    model = timm.create_model("test_resnet").eval()
    repository = tmp_path / "models--timm--test_resnet.r160_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save_file(model.state_dict(), repository / "snapshots" / ("0" * 40) / "model.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in ("test_resnet", "test_resnet.r160_in1k"):
        loaded = load_model(f"timm:{name}")
        with torch.no_grad():
            assert torch.allclose(loaded.inner(images(1, 96)), model(images(1, 96)), atol=1e-5)
        assert loaded.preprocessing.origin == "timm's configuration of r160_in1k"
        assert len(loaded.classes) == 1000
        assert loaded.classes[0].startswith("tench")


def test_darknet53_is_as_timm_says(timm: Any, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    from safetensors.torch import save_file

    model = timm.create_model("darknet53", num_classes=3)
    save_file(model.state_dict(), path)
    loaded = load_model("timm:darknet53", state=path, classes=["a", "b", "c"])
    assert loaded.preprocessing.geometry == Geometry(288, 256, "bicubic")
    assert loaded.preprocessing.mean == (0.485, 0.456, 0.406)


def test_what_timm_does_not_have_is_refused_with_what_is_near(timm: Any) -> None:
    assert refusal("timm:darknet35") == (
        "timm:darknet35: expected a model of timm, or a folder with its config.json, got 'darknet35'; did you mean 'darknet53'?"
    )
    assert refusal("timm:darknet53.c2ns") == (
        "timm:darknet53.c2ns: expected weights out of darknet53.c2ns_in1k; did you mean 'darknet53.c2ns_in1k'?"
    )


# transformers


def prepared(path: Path, geometry: Geometry) -> torch.Tensor:
    """The picture as Pillow resizes and cuts it."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    resample = Image.Resampling[geometry.interpolation.upper()]
    if isinstance(geometry.resize, tuple):
        image = image.resize(geometry.resize[::-1], resample)
    elif geometry.resize is not None:
        width, height = image.size
        short = min(width, height)
        image = image.resize((int(geometry.resize * width / short), int(geometry.resize * height / short)), resample)
    if geometry.crop is not None:
        height, width = geometry.crop if isinstance(geometry.crop, tuple) else (geometry.crop, geometry.crop)
        left, top = round((image.width - width) / 2), round((image.height - height) / 2)
        image = image.crop((left, top, left + width, top + height))
    return torch.from_numpy(numpy.array(image)).permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="module")
def transformers() -> Any:
    return pytest.importorskip("transformers")


def resnet(transformers: Any) -> Any:
    config = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8],
        depths=[1, 1],
        layer_type="basic",
        num_labels=3,
        id2label={0: "a", 1: "b", 2: "c"},
        label2id={"a": 0, "b": 1, "c": 2},
    )
    return transformers.ResNetForImageClassification(config).eval()


PROCESSORS: dict[str, Callable[[Any], Any]] = {
    "vit": lambda library: library.ViTImageProcessor(size={"height": 48, "width": 64}),
    "clip": lambda library: library.CLIPImageProcessor(
        size={"shortest_edge": 64}, crop_size={"height": 56, "width": 48}
    ),
    "convnext": lambda library: library.ConvNextImageProcessor(size={"shortest_edge": 56}, crop_pct=0.875),
    "convnext, large": lambda library: library.ConvNextImageProcessor(size={"shortest_edge": 384}),
    "no normalisation": lambda library: library.ViTImageProcessor(
        size={"height": 48, "width": 48}, do_normalize=False, resample=3
    ),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_a_classifier_of_transformers_sees_what_its_processor_would_show_it(
    transformers: Any, tmp_path: Path, picture: Path, name: str
) -> None:
    model, processor, folder = resnet(transformers), PROCESSORS[name](transformers), tmp_path / "own"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    loaded = load_model(f"hf:{folder}")
    assert loaded.classes == ("a", "b", "c")
    with Image.open(picture) as opened, torch.no_grad():
        pixels = processor(opened, return_tensors="pt")["pixel_values"]
        theirs = model(pixels).logits
        shown = (prepared(picture, loaded.preprocessing.geometry) - loaded.mean) / loaded.std
        ours = loaded(prepared(picture, loaded.preprocessing.geometry))
    assert shown.shape == pixels.shape
    # Processors resize tensors or pictures, by the version, and round in between.
    assert (shown - pixels).abs().max() < 2.5 / 255 / min(loaded.preprocessing.std)
    assert torch.allclose(ours, theirs, atol=0.05)


def test_files_of_transformers_can_be_pinned_and_pickles_are_not_read(transformers: Any, tmp_path: Path) -> None:
    model, folder = resnet(transformers), tmp_path / "own"
    model.save_pretrained(folder)
    PROCESSORS["vit"](transformers).save_pretrained(folder)
    weights = folder / "model.safetensors"
    load_model(f"hf:{folder}", sha256=hashlib.sha256(weights.read_bytes()).hexdigest())
    assert refusal(f"hf:{folder}", sha256="0" * 64).startswith(f"{weights}: expected sha256 ")
    weights.unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    said = refusal(f"hf:{folder}")
    assert said.startswith(
        f"hf:{folder}: expected its files in the cache, in a folder, or to be fetched, got OSError: "
    )
    assert refusal(f"hf:{folder}", state="weights.pth") == (
        f"hf:{folder}: expected no state= beside a model of transformers; save it with save_pretrained and name the folder"
    )


def test_names_that_are_only_numbers_are_no_names(transformers: Any, tmp_path: Path) -> None:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic", num_labels=3)
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path / "own")
    PROCESSORS["vit"](transformers).save_pretrained(tmp_path / "own")
    assert load_model(f"hf:{tmp_path / 'own'}").classes == ()
    assert refusal(f"hf:{tmp_path / 'own'}", classes=["a", "b"]) == (
        f"hf:{tmp_path / 'own'}: expected 3 classes, one for each output, got 2; name them in the order of the outputs"
    )


# The string


@pytest.mark.parametrize("source", ["resnet50", "torchvison:resnet50", "weights.bin", "", None])
def test_what_is_no_source_is_refused(source: Any) -> None:
    said = refusal(source)
    if not source:
        assert said == f"expected the source of a model as a string, such as torchvision:resnet50, got {source!r}"
        return
    if source == "torchvison:resnet50":
        assert said.startswith("torchvison:resnet50: expected a module that can be imported")
        return
    assert said == (
        f"{source}: expected torchvision:..., timm:..., hf:..., export:..., torchscript:..., onnx:..., a file that ends in .pt2, .onnx, .pt, "
        ".pth, .ts, .torchscript, or package.module:factory, got neither"
    )


def test_a_misspelt_scheme_is_told(factory: str) -> None:
    assert re.search(r"did you mean 'torchvision'\?$", refusal("torchvison:resnet-50"))


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (
            {"mean": [124, 116, 104]},
            "expected mean as three numbers, of red, green and blue on the [0, 1] scale, got (124, 116, 104); divide those on the scale to 255 by 255",
        ),
        (
            {"std": [0.5, 0, 0.5]},
            "expected std as three numbers, of red, green and blue on the [0, 1] scale, got (0.5, 0, 0.5); divide those on the scale to 255 by 255",
        ),
        ({"resize": 0}, "expected resize to be a number of pixels >= 1, or (height, width), got 0"),
        (
            {"interpolation": "cubic"},
            "expected an interpolation out of nearest, bilinear, bicubic, box, hamming, lanczos, got 'cubic'",
        ),
    ],
)
def test_what_can_not_be_declared_is_refused(factory: str, declared: dict[str, Any], said: str) -> None:
    assert refusal(factory, **declared) == f"{factory}: {said}"


def test_the_preprocessing_reads_as_a_sentence() -> None:
    whole = Preprocessing(Geometry((48, 64), 32, "bicubic"), (0.5, 0.25, 0.125), (1.0, 0.5, 0.25), "here")
    assert str(whole) == "64 x 48 by bicubic, 32 x 32 from the centre; mean 0.5 0.25 0.125, std 1 0.5 0.25; from here"
    assert str(Preprocessing()) == "as the files are; no mean and std of its own; from none"
    assert str(Geometry(256, (224, 192))) == "short side 256 by bilinear, 192 x 224 from the centre"


# In an engine

COLOURS = [(r, g, b) for r in (40, 200) for g in (60, 220) for b in (20, 240)]


@pytest.fixture
def robustness(exported: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Robustness]:
    """Eight pictures of one colour each, labelled by what the model says of it."""

    def over(suffix: str) -> Robustness:
        model = load_model(str(exported(suffix)), mean=[0.5] * 3, std=[0.25] * 3)
        labels = {}
        for place in range(8):
            Image.new("RGB", (8, 8), COLOURS[place]).save(tmp_path / f"{place}.png")
            with torch.no_grad():
                labels[f"{place}.png"] = [int(model(read_image(tmp_path / f"{place}.png")[None]).argmax())]
        return Robustness(Engine(model, labelled_images(tmp_path, labels, classes=["a", "b", "c"]), device="cpu"))

    return over


@pytest.mark.parametrize("suffix", [".pt2", ".pt"])
def test_an_exported_model_is_attacked_like_any_other(robustness: Callable[[str], Robustness], suffix: str) -> None:
    own = robustness(suffix)
    assert own.accuracy() == 1
    assert own.accuracy(FGSM(), 64 / 255) < 1
    assert own.engine.provenance.model.endswith(f"small{suffix}")
    assert own.engine.provenance.preprocessing == (
        "as the files are; mean 0.5 0.5 0.5, std 0.25 0.25 0.25; from declared"
    )


def test_an_onnx_file_withstands_what_needs_no_gradients_and_refuses_what_does(
    robustness: Callable[[str], Robustness],
) -> None:
    own = robustness(".onnx")
    own.assert_accuracy(GaussianNoise(), 0.01, at_least=0.5)
    assert own.accuracy(Square(queries=100), 64 / 255) < 1
    with pytest.raises(InputError) as error:
        own.accuracy(FGSM(), 1 / 255)
    assert "an ONNX file, which has none; use Square() or a perturbation" in str(error.value)
    with pytest.raises(GateFailed):
        own.assert_accuracy(Square(queries=100), 64 / 255, at_least=1)


def test_no_check_of_a_gate_under_square_asks_an_onnx_file_for_a_gradient(
    robustness: Callable[[str], Robustness],
) -> None:
    own = robustness(".onnx")
    # The pictures are noise, on which this model knows next to nothing but one class.
    own._waive = {"unbounded": "noise"}
    own.assert_accuracy(Square(queries=100), 0.5 / 255, at_least=0.5)
    (verdict,) = own.verdicts
    assert verdict.status == "pass"
    assert {"input-range", "unbounded"} <= set(verdict.checks)
    assert "gradients" not in verdict.checks
    assert not any("could not be checked" in doubt.said for doubt in verdict.doubts)
