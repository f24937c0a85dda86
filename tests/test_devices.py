"""Which devices there are, what gets onto them in which row, and how many images make a batch.

What needs a GPU is not run here: of CUDA only the choice among the devices that torch says there are, and arithmetic.
"""

import pytest
import torch

from pytest_robustness.devices import Stage, device_name, fitting_batch_size, resolve_device
from pytest_robustness.errors import InputError
from pytest_robustness.running import RunningModel

CPU = torch.device("cpu")


def there_are(monkeypatch: pytest.MonkeyPatch, *, cuda: int, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "name", "device"),
    [
        (0, False, "auto", "cpu"),
        (0, True, "auto", "mps"),
        (2, False, "auto", "cuda:0"),
        (1, True, "auto", "cuda:0"),
        (2, False, "cuda", "cuda:0"),
        (2, False, "cuda:1", "cuda:1"),
        (2, True, "mps", "mps"),
        (2, True, "cpu", "cpu"),
    ],
)
def test_a_device_is_found_by_its_name_and_auto_is_the_fastest(
    monkeypatch: pytest.MonkeyPatch, cuda: int, mps: bool, name: str, device: str
) -> None:
    there_are(monkeypatch, cuda=cuda, mps=mps)
    assert resolve_device(name) == torch.device(device)


@pytest.mark.parametrize(
    ("cuda", "mps", "name", "message"),
    [
        (0, False, "cuda", "expected a device out of auto, cpu, got 'cuda'"),
        (0, False, "cuda:0", "expected a device out of auto, cpu, got 'cuda:0'"),
        (0, False, "mps", "expected a device out of auto, cpu, got 'mps'"),
        (0, True, "gpu", "expected a device out of auto, mps, cpu, got 'gpu'"),
        (2, False, "cuda:2", "expected a device out of auto, cuda:0, cuda:1, cpu, got 'cuda:2'"),
        (1, True, "", "expected a device out of auto, cuda:0, mps, cpu, got ''"),
    ],
)
def test_a_device_that_is_not_there_is_refused_with_those_that_are(
    monkeypatch: pytest.MonkeyPatch, cuda: int, mps: bool, name: str, message: str
) -> None:
    there_are(monkeypatch, cuda=cuda, mps=mps)
    with pytest.raises(InputError) as error:
        resolve_device(name)
    assert str(error.value) == f"{message}; choose another with --robustness-device"


def test_a_report_names_the_cpu_and_the_kind_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"kind {device.index}")
    assert device_name(CPU) == "cpu"
    assert device_name(torch.device("mps")) == "mps"
    assert device_name(torch.device("cuda:1")) == "cuda:1 (kind 1)"


def grey(level: float) -> torch.Tensor:
    return torch.full((3, 2, 2), level)


def test_staged_images_come_in_the_order_of_the_ids_as_often_as_they_are_asked_for() -> None:
    staged = Stage(CPU)({"a": grey(0.1), "b": grey(0.2), "c": grey(0.3)})
    images = staged.images(["c", "a", "c", "b", "c"])
    assert images.shape == (5, 3, 2, 2)
    assert torch.equal(images, torch.stack([grey(level) for level in (0.3, 0.1, 0.3, 0.2, 0.3)]))


def test_all_images_in_their_own_order_are_not_copied() -> None:
    staged = Stage(CPU)({"a": grey(0.1), "b": grey(0.2)})
    assert staged.images(["a", "b"]).data_ptr() == staged.images(["a", "b"]).data_ptr()
    assert torch.equal(staged.images(["a", "b"]), torch.stack([grey(0.1), grey(0.2)]))
    assert torch.equal(staged.images(["b", "a"]), torch.stack([grey(0.2), grey(0.1)]))
    assert torch.equal(staged.images(["a"]), grey(0.1)[None])


def test_images_that_could_not_be_decoded_take_no_row() -> None:
    wrong = InputError("b.png: expected an image")
    staged = Stage(CPU)({"a": grey(0.1), "b": wrong, "c": grey(0.3)})
    assert staged.rows == {"a": 0, "c": 1}
    assert staged.errors == {"b": wrong}
    assert torch.equal(staged.images(["c", "a"]), torch.stack([grey(0.3), grey(0.1)]))


def test_where_nothing_could_be_decoded_there_are_only_errors() -> None:
    wrong = InputError("a.png: expected an image")
    staged = Stage(CPU)({"a": wrong})
    assert (staged.rows, staged.errors) == ({}, {"a": wrong})
    assert len(staged.images([])) == 0


def test_an_image_that_is_not_there_has_no_row() -> None:
    with pytest.raises(KeyError, match="b"):
        Stage(CPU)({"a": grey(0.1)}).images(["b"])


def means(images: torch.Tensor) -> torch.Tensor:
    return images.mean((2, 3))


def on(device: str) -> RunningModel:
    """A plain function, which nothing moves to the device."""
    return RunningModel(means, 3, device=torch.device(device))


@pytest.mark.parametrize(
    ("size", "batch"),
    [
        ((8, 8), 32),
        ((158, 158), 32),
        ((159, 159), 31),
        ((224, 224), 16),
        ((112, 448), 16),
        ((448, 448), 4),
        ((1024, 1024), 4),
    ],
)
def test_on_a_cpu_the_batch_follows_from_the_size_of_the_images(size: tuple[int, int], batch: int) -> None:
    assert fitting_batch_size(on("cpu"), torch.zeros(1, 3, *size)) == batch


def test_on_a_cpu_a_batch_of_images_of_unknown_size_is_32() -> None:
    assert fitting_batch_size(on("cpu"), None) == 32


@pytest.mark.parametrize(("size", "batch"), [((8, 8), 1024), ((224, 224), 128), ((448, 448), 32), ((4096, 4096), 4)])
def test_a_gpu_of_unknown_memory_is_kept_busy(size: tuple[int, int], batch: int) -> None:
    assert fitting_batch_size(on("mps"), torch.zeros(1, 3, 1, 1).expand(1, 3, *size)) == batch


@pytest.mark.parametrize(("each", "batch"), [(0, 128), (1, 128), (10, 70), (100, 7), (1000, 4)])
def test_on_cuda_no_more_images_than_fit_in_seven_tenths_of_the_free_memory(
    monkeypatch: pytest.MonkeyPatch, each: int, batch: int
) -> None:
    """The arithmetic alone: 1000 bytes are free of 5000, and an image takes `each`."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 5000))
    monkeypatch.setattr(RunningModel, "bytes_per_image", lambda self, probe: each)
    assert fitting_batch_size(on("cuda"), torch.zeros(1, 3, 224, 224)) == batch


def test_on_cuda_images_of_unknown_size_are_not_measured() -> None:
    assert fitting_batch_size(on("cuda"), None) == 1024
