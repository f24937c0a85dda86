"""The model while it runs and after: what it is asked, what may come back, and that it is left as it was found."""

import itertools
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from pytest_robustness import running as module
from pytest_robustness.errors import InputError
from pytest_robustness.running import LEAST_BATCH, Precision, RunningModel, out_of_memory

CPU = torch.device("cpu")
NOT_FOLDED = "not folded: no batch norm directly behind a convolution"


def images(n: int = 4, size: int = 8) -> torch.Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(n * size))


def names(n: int) -> list[str]:
    return [f"{number}.png" for number in range(n)]


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


class Net(nn.Module):
    """Three classes out of 8 x 8 images, with everything that has a mode, statistics, or a parameter that doesn't learn."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8 * 36, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.norm(self.conv(images))).flatten(1))


def net() -> nn.Module:
    model = seeded(Net)
    model.head.bias.requires_grad_(False)
    model.norm.eval()
    return model


def linear(size: int = 8) -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, 3)))


def of(model: Callable[[torch.Tensor], Any], classes: int = 3, precision: Precision = "float32") -> RunningModel:
    return RunningModel(model, classes, device=CPU, precision=precision)


def prepared(model: Callable[[torch.Tensor], Any], precision: Precision = "float32") -> RunningModel:
    running = of(model, precision=precision)
    running.prepare(images())
    return running


def answers(running: RunningModel, asked: torch.Tensor) -> torch.Tensor:
    with running.running(), torch.no_grad():
        return running.logits(names(len(asked)), asked)


def refusal(model: Callable[[torch.Tensor], Any], n: int = 5, classes: int = 3) -> str:
    with pytest.raises(InputError) as error:
        answers(of(model, classes), images(n))
    return str(error.value)


def state(model: nn.Module) -> tuple[object, ...]:
    """Everything that a run changes, and the identity of everything that it swaps."""
    return (
        [inner.training for inner in model.modules()],
        [parameter.requires_grad for parameter in model.parameters()],
        [parameter.grad for parameter in model.parameters()],
        {name: id(tensor) for name, tensor in itertools.chain(model.named_parameters(), model.named_buffers())},
        {name: sorted(vars(inner)) for name, inner in model.named_modules()},
    )


def test_while_it_runs_the_model_is_in_eval_mode_and_frozen_and_afterwards_as_it_was() -> None:
    model = net()
    before, weights = state(model), {name: value.clone() for name, value in model.state_dict().items()}
    running = prepared(model)
    assert state(model) == before
    with running.running():
        assert running.active
        assert not any(inner.training for inner in model.modules())
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert not torch.equal(model.conv.weight, weights["conv.weight"])
    assert not running.active
    assert state(model) == before
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert [inner.training for inner in (model, model.norm, model.drop)] == [True, False, True]
    assert [parameter.requires_grad for parameter in model.head.parameters()] == [True, False]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_after_an_error_the_model_is_as_it_was(error: type[BaseException]) -> None:
    model = net()
    before, running = state(model), prepared(model)
    with pytest.raises(error), running.running():
        raise error
    assert state(model) == before
    assert not running.active
    assert torch.equal(answers(running, images()), answers(prepared(net()), images()))


def test_running_inside_of_running_changes_and_restores_nothing_of_its_own() -> None:
    model = net()
    before, running = state(model), prepared(model)
    with running.running():
        inside = state(model)
        with running.running():
            assert state(model) == inside
        with pytest.raises(KeyError), running.running():
            raise KeyError
        assert state(model) == inside
        assert running.active
    assert state(model) == before


def test_a_model_that_overrides_train_and_eval_is_in_eval_mode_all_the_same() -> None:
    class Stubborn(Net):
        def train(self, mode: bool = True) -> "Stubborn":
            super().train(mode)
            self.drop.train()
            return self

        def eval(self) -> "Stubborn":
            raise AssertionError("this model is never to be put into eval mode")

    model = seeded(Stubborn)
    before, running = state(model), prepared(model)
    assert torch.equal(answers(running, images()), answers(running, images()))
    assert state(model) == before
    assert model.drop.training


def test_lazy_parameters_are_made_by_the_first_images_and_learn_afterwards_as_before() -> None:
    model = nn.Sequential(nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(3, bias=False))
    model[0].weight.requires_grad = False
    running = of(model)
    assert not running.changed()
    running.prepare(images())
    assert running.how == f"channels_last ({NOT_FOLDED})"
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, True, True, True, True]
    assert model.training
    assert not running.changed()
    assert answers(running, images()).shape == (4, 3)


def test_weights_made_in_inference_mode_are_run_and_left_as_they_are() -> None:
    with torch.inference_mode():
        model = net()
    before, running = state(model), prepared(model)
    assert running.how == "1 batch norms folded, channels_last"
    torch.testing.assert_close(answers(running, images()), answers(prepared(net()), images()))
    assert state(model) == before
    assert not running.changed()


def test_images_made_in_inference_mode_have_a_gradient() -> None:
    with torch.inference_mode():
        asked = images()
    running = prepared(net())
    with running.running():
        shown = asked.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(running.logits(names(4), shown).sum(), shown)
    assert torch.equal(answers(running, asked), answers(running, images()))
    assert gradient.abs().max() > 0


def test_a_model_that_writes_to_its_images_does_not_change_those_of_the_caller() -> None:
    class Normalising(Net):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images.sub_(0.5).mul_(4))

    probe = images()
    running = of(seeded(Normalising))
    running.prepare(probe)
    assert torch.equal(probe, images())
    for n in (2, 5):
        asked = images(n)
        first = answers(running, asked)
        assert torch.equal(asked, images(n))
        assert torch.equal(answers(running, asked), first)
        shown = images(n).requires_grad_()
        with running.running():
            torch.autograd.grad(running.logits(names(n), shown).sum(), shown)
        assert torch.equal(shown, images(n))


_OLDER: list[tuple[Callable[[], Any], Callable[[Any], None]]] = [
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (
        lambda: torch.backends.cudnn.allow_tf32,
        lambda allowed: setattr(torch.backends.cudnn, "allow_tf32", allowed),
    ),
]
HAS_NEWER = hasattr(torch.backends.cudnn, "conv")


def newer_owners() -> list[Any]:
    """Those above first, as what is set there is set below too."""
    backends: Any = torch.backends
    if not HAS_NEWER:
        return []
    above = [backends, backends.cudnn, backends.mkldnn]
    return [*above, backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn, backends.mkldnn.matmul]


def flags() -> list[object]:
    """All of them, by every name under which torch still tells them."""
    found: list[object] = [owner.fp32_precision for owner in newer_owners()]
    for read, _ in _OLDER:
        try:
            found.append(read())
        except RuntimeError:
            found.append("refused")
    return found


def rounded() -> list[bool]:
    """Whether a GPU would round products, convolutions and recurrent layers."""
    if not HAS_NEWER:
        return [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32]
    return [owner.fp32_precision == "tf32" for owner in newer_owners()[3:6]]


@pytest.fixture
def _flags_are_put_back() -> Iterator[None]:
    older = [(write, read()) for read, write in _OLDER]
    newer = [(owner, owner.fp32_precision) for owner in newer_owners()]
    yield
    # Twice, as the older names may be refused until the newer ones agree, and write to them.
    for owner, found in newer:
        owner.fp32_precision = found
    for write, found in older:
        write(found)
    for owner, found in newer:
        owner.fp32_precision = found


def set_newer(place: str, value: str) -> None:
    owner: Any = torch.backends
    for name in place.split("."):
        owner = getattr(owner, name) if name else owner
    owner.fp32_precision = value


FOUND: dict[str, Callable[[], None]] = {
    "as torch has it": lambda: None,
    "products by the older name": lambda: torch.set_float32_matmul_precision("medium"),
    "convolutions by the older name": lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
}
FOUND_NEWER: dict[str, Callable[[], None]] = {
    "products by the newer name": lambda: set_newer("cuda.matmul", "tf32"),
    "convolutions by the newer name": lambda: set_newer("cudnn.conv", "ieee"),
    "everything by the newer name": lambda: set_newer("", "tf32"),
    "everything switched off by the newer name": lambda: set_newer("", "ieee"),
    "both names for the same": lambda: (torch.set_float32_matmul_precision("high"), set_newer("", "tf32"))[-1],
    "both names for other things": lambda: (
        torch.set_float32_matmul_precision("highest"),
        set_newer("cuda.matmul", "tf32"),
    )[-1],
}


@pytest.mark.usefixtures("_flags_are_put_back")
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
@pytest.mark.parametrize("found", FOUND | (FOUND_NEWER if HAS_NEWER else {}))
def test_tf32_is_as_asked_for_on_a_gpu_and_afterwards_as_it_was(found: str, precision: Precision) -> None:
    """A plain function stands for the model: nothing of it moves, and the flags are there without a GPU."""
    (FOUND | FOUND_NEWER)[found]()
    before = flags()
    running = RunningModel(lambda shown: shown, 3, device=torch.device("cuda"), precision=precision)
    with running.running():
        assert all(rounded()) if precision == "tf32" else not any(rounded())
        with running.running():
            assert any(rounded()) == (precision == "tf32")
        assert any(rounded()) == (precision == "tf32")
    assert flags() == before
    with pytest.raises(KeyError), running.running():
        raise KeyError
    assert flags() == before


def test_on_a_cpu_no_flag_is_touched() -> None:
    before = flags()
    with prepared(linear()).running():
        assert flags() == before


class Counting(Net):
    """Counts its forwards in one buffer in place, and in another by a new tensor each."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("turns", torch.zeros(()))
        self.register_buffer("spread", torch.eye(2).to_sparse())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.turns = self.turns + 1
        return super().forward(images)


def test_running_is_no_change_nor_is_what_the_forward_counts_itself() -> None:
    model = seeded(Counting)
    running = prepared(model)
    for _ in range(3):
        answers(running, images())
        assert not running.changed()
        assert running.prepared
    assert model.calls == model.turns > 3


def test_neither_modes_nor_gradients_are_a_change() -> None:
    model = net()
    running = prepared(model)
    model.eval()
    model.requires_grad_(False)
    model.conv.weight.grad = torch.ones_like(model.conv.weight)
    assert not running.changed()


def in_place(model: nn.Module) -> None:
    with torch.no_grad():
        model.head.weight[0, 0] += 1


def replaced(model: nn.Module) -> None:
    model.head.weight = nn.Parameter(model.head.weight.detach().clone())


def storage_replaced(model: nn.Module) -> None:
    model.head.weight.data = model.head.weight.detach() + 1


def layer_replaced(model: nn.Module) -> None:
    model.head = nn.Linear(8 * 36, 3)


def trained(model: nn.Module) -> None:
    model(images()).sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()


def statistics(model: nn.Module) -> None:
    model.train()
    with torch.no_grad():
        model(images())


@pytest.mark.parametrize(
    "change",
    [
        in_place,
        replaced,
        storage_replaced,
        layer_replaced,
        trained,
        statistics,
        lambda model: model.load_state_dict(model.state_dict()),
        lambda model: model.load_state_dict(
            {name: value.clone() for name, value in model.state_dict().items()}, assign=True
        ),
        lambda model: model.register_parameter("extra", nn.Parameter(torch.zeros(1))),
        lambda model: model.register_parameter("bias", None) or setattr(model.head, "bias", None),
        lambda model: model.calls.fill_(0),
        lambda model: model.spread.mul_(2),
        lambda model: model.double(),
    ],
    ids=[
        "in place",
        "replaced",
        "storage replaced",
        "layer replaced",
        "trained",
        "statistics",
        "loaded",
        "loaded by assignment",
        "added",
        "removed",
        "a buffer",
        "a sparse buffer",
        "another type",
    ],
)
def test_a_weight_that_was_written_to_or_replaced_is_a_change_told_once(change: Callable[[nn.Module], object]) -> None:
    model = seeded(Counting)
    running = prepared(model)
    with running.running():
        assert not running.changed()
    change(model)
    assert running.changed()
    assert not running.prepared
    assert not running.changed()


def test_while_it_runs_nothing_has_changed_and_a_plain_function_never_has() -> None:
    running = prepared(net())
    with running.running():
        in_place(running.model)  # type: ignore[arg-type]
        assert not running.changed()
    assert not prepared(lambda shown: shown.mean((2, 3))).changed()


def test_a_changed_model_is_chosen_for_anew_and_answers_as_it_does_now() -> None:
    model = net()
    running = prepared(model)
    before = answers(running, images())
    with torch.no_grad():
        model.conv.weight.mul_(3)
    assert running.changed()
    running.prepare(images())
    assert running.how == "1 batch norms folded, channels_last"
    model.eval()
    with torch.no_grad():
        expected = model(images())
    torch.testing.assert_close(answers(running, images()), expected, rtol=0, atol=1e-5)
    assert (expected - before).abs().max() > 0.1


def test_the_same_model_has_the_same_signature_whatever_images_it_was_prepared_with() -> None:
    first, second = of(net()), of(net())
    first.prepare(images(4))
    second.prepare(images(7) / 2)
    before = torch.get_rng_state()
    assert first.signature((3, 8, 8)) == second.signature((3, 8, 8))
    assert torch.equal(torch.get_rng_state(), before)
    assert state(first.model)[:2] == state(net())[:2]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.head.weight.data[0, 0].add_(0.01),
        lambda model: model.norm.running_mean.add_(0.01),
        lambda model: setattr(model.norm, "eps", 0.5),
        lambda model: setattr(model, "norm", nn.Identity()),
        lambda model: model.head.register_forward_hook(lambda inner, inputs, output: 2 * output),
    ],
    ids=["a weight behind torch's back", "a statistic", "a setting", "a layer", "a hook"],
)
def test_another_model_has_another_signature(change: Callable[[nn.Module], object]) -> None:
    model = net()
    change(model)
    assert prepared(model).signature((3, 8, 8)) != prepared(net()).signature((3, 8, 8))


def test_a_model_that_fails_on_noise_has_what_it_says_for_a_signature() -> None:
    def fails(shown: torch.Tensor) -> torch.Tensor:
        raise ValueError("no noise please")

    lineno = fails.__code__.co_firstlineno + 1
    assert of(fails).signature((3, 8, 8)) == (
        f"the model raised ValueError at test_running.py:{lineno} on images of shape (4, 3, 8, 8): no noise please; "
        "it has to accept RGB in [0, 1], (n, 3, h, w): check resize= and crop= of the image set"
    )


@pytest.mark.parametrize("make", [net, linear], ids=["convolutions", "linear"])
def test_an_image_alone_gets_the_bits_that_it_gets_in_a_batch_of_others(make: Callable[[], nn.Module]) -> None:
    running = prepared(make())
    together = answers(running, images(LEAST_BATCH))
    for n in range(1, LEAST_BATCH):
        for start in range(LEAST_BATCH - n + 1):
            alone = answers(running, images(LEAST_BATCH)[start : start + n])
            assert torch.equal(alone, together[start : start + n])


def test_where_bits_depend_on_the_size_of_the_batch_small_ones_are_filled_up_until_they_do_not() -> None:
    """As torch's kernels do on some processors: another sum below 16 rows."""

    def fickle(asked: torch.Tensor) -> torch.Tensor:
        return asked.mean((2, 3)) + (1e-7 if len(asked) < 16 else 0)

    running = of(fickle)
    running.fill_batches((3, 16, 16), 32)
    assert running.least == 16
    together = answers(running, images(32))
    for n in (1, 4, 15, 16, 17):
        assert torch.equal(answers(running, images(32)[:n]), together[:n])


@pytest.mark.parametrize(("most", "least"), [(1, LEAST_BATCH), (4, LEAST_BATCH), (8, 8), (16, 16), (1000, 16)])
def test_no_batch_is_filled_up_beyond_the_largest(most: int, least: int) -> None:
    running = of(lambda asked: asked.mean((2, 3)) + 1e-6 * len(asked))
    running.fill_batches((3, 16, 16), most)
    assert running.least == least


@pytest.mark.parametrize("error", [ValueError("no noise"), torch.OutOfMemoryError("out of memory"), MemoryError()])
def test_a_model_that_fails_on_noise_is_filled_up_to_the_least(error: Exception) -> None:
    def failing(asked: torch.Tensor) -> torch.Tensor:
        raise error

    running = of(failing)
    running.fill_batches((3, 16, 16), 32)
    assert running.least == LEAST_BATCH


def test_bits_that_do_not_depend_on_the_batch_cost_no_more_than_four_images() -> None:
    running = prepared(net())
    running.fill_batches((3, 16, 16), 32)
    assert running.least == LEAST_BATCH


def test_small_batches_are_filled_up_with_their_first_image_and_large_ones_are_not() -> None:
    shown: list[torch.Tensor] = []

    def watching(asked: torch.Tensor) -> torch.Tensor:
        shown.append(asked)
        return asked.mean((2, 3))

    for n in (1, 3, LEAST_BATCH, LEAST_BATCH + 1):
        assert answers(of(watching), images(n)).shape == (n, 3)
    assert [len(asked) for asked in shown] == [LEAST_BATCH] * 3 + [LEAST_BATCH + 1]
    assert torch.equal(shown[0], images(1).expand(LEAST_BATCH, -1, -1, -1))
    assert torch.equal(shown[1], torch.cat([images(3), images(3)[:1]]))


def test_the_gradient_of_an_image_alone_does_not_count_what_fills_up_its_batch() -> None:
    running = prepared(linear())
    shown = images(1).requires_grad_()
    with running.running():
        (gradient,) = torch.autograd.grad(running.logits(names(1), shown)[:, 0].sum(), shown)
    torch.testing.assert_close(gradient.flatten(), running.model[1].weight[0].detach())  # type: ignore[index]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_logits_of_any_float_type_come_out_as_float32(dtype: torch.dtype) -> None:
    found = answers(of(lambda shown: shown.mean((2, 3)).to(dtype)), images())
    assert found.dtype == torch.float32
    assert torch.equal(found, images().mean((2, 3)).to(dtype).float())


SHAPE = (
    "the model: expected float logits of shape (n, 3), a row for each of n = 5 images and a column for each class "
    "of the image set, got {}; give the image set the model's own classes, or fix the model's last layer"
)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda shown: shown.flatten(1)[:, :4], SHAPE.format("float32 of shape (5, 4)")),
        (lambda shown: shown.flatten(1)[:, 0], SHAPE.format("float32 of shape (5,)")),
        (lambda shown: shown.flatten(1)[1:, :3], SHAPE.format("float32 of shape (4, 3)")),
        (lambda shown: shown.flatten(1)[:, :3].long(), SHAPE.format("int64 of shape (5, 3)")),
        (lambda shown: shown.flatten(1)[:, :3] > 0.5, SHAPE.format("bool of shape (5, 3)")),
        (lambda shown: shown.flatten(1)[:, :3] * 1j, SHAPE.format("complex64 of shape (5, 3)")),
    ],
    ids=["columns", "no columns", "rows", "labels", "decisions", "complex"],
)
def test_answers_of_another_shape_or_type_are_refused(
    answer: Callable[[torch.Tensor], torch.Tensor], message: str
) -> None:
    assert refusal(answer) == message


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (lambda shown: (shown,), "tuple"),
        (lambda shown: {"logits": shown}, "dict"),
        (lambda shown: None, "NoneType"),
        (lambda shown: shown.detach().numpy(), "ndarray"),
    ],
)
def test_answers_that_are_no_tensor_are_refused(answer: Callable[[torch.Tensor], object], kind: str) -> None:
    assert refusal(answer) == (
        f"the model: expected logits as a tensor of shape (n, 3), got {kind}; return the logits alone"
    )


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_logits_that_are_not_finite_are_refused_with_their_images(value: float) -> None:
    def spoiled(shown: torch.Tensor) -> torch.Tensor:
        logits = shown.mean((2, 3))
        logits[2:4, 1] = value
        return logits

    said = (
        "the model: expected finite logits, got NaN or infinity for {}; look for a division by zero or an overflow "
        "in its forward"
    )
    assert refusal(spoiled) == said.format("2 of 5 images, first 2.png")
    assert refusal(spoiled, 3) == said.format("1 of 3 images, first 2.png")
    with pytest.raises(InputError) as error:
        of(spoiled).logits([], images(5))
    assert str(error.value) == said.format("2 of 5 images")


def test_images_that_only_fill_up_a_batch_are_not_looked_at() -> None:
    """A model of chance may spoil any row."""

    def spoiled(shown: torch.Tensor) -> torch.Tensor:
        logits = shown.mean((2, 3))
        logits[2:] = torch.nan
        return logits

    assert torch.equal(answers(of(spoiled), images(2)), images(2).mean((2, 3)))


def test_probabilities_are_refused_and_a_single_class_is_not() -> None:
    assert refusal(lambda shown: shown.mean((2, 3)).softmax(1)) == (
        "the model: expected logits, got probabilities (every row is >= 0 and sums to 1), which hide gradients from "
        "attacks; return what goes into the softmax"
    )
    assert answers(of(lambda shown: torch.ones(len(shown), 1), 1), images()).tolist() == [[1.0]] * 4


RAISED = (
    "the model raised {} on images of shape ({}, 3, 8, 8): {}; it has to accept RGB in [0, 1], (n, 3, h, w): check "
    "resize= and crop= of the image set"
)


def test_what_the_model_raises_is_told_by_its_first_line_with_the_place_in_the_models_code() -> None:
    def deeper(shown: torch.Tensor) -> torch.Tensor:
        raise ValueError("expected 224 x 224\n\nand a long explanation")

    place = f"test_running.py:{deeper.__code__.co_firstlineno + 1}"
    model = nn.Sequential(nn.Identity())
    model[0].forward = deeper
    for n in (1, 5):
        expected = RAISED.format(f"ValueError at {place}", max(n, LEAST_BATCH), "expected 224 x 224")
        assert refusal(model, n) == expected


def test_an_error_without_words_is_told_as_such() -> None:
    def wordless(shown: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    place = f"test_running.py:{wordless.__code__.co_firstlineno + 1}"
    assert refusal(wordless) == RAISED.format(f"NotImplementedError at {place}", 5, "no message")


def test_an_error_in_torchs_own_code_is_placed_inside_torch() -> None:
    model = linear(size=2)
    with pytest.raises(RuntimeError) as raw:
        model(images(5))
    assert refusal(model) == RAISED.format("RuntimeError inside torch", 5, raw.value)


def test_an_error_in_a_package_beside_torch_is_placed_there() -> None:
    """torchvision lies in a folder whose name begins with torch's."""
    model = torchvision.models.VisionTransformer(
        image_size=32, patch_size=16, num_layers=1, num_heads=1, hidden_dim=8, mlp_dim=8, num_classes=3
    )
    said = refusal(model)
    assert said.startswith("the model raised AssertionError at vision_transformer.py:")
    assert said.partition(" on images ")[2] == (
        "of shape (5, 3, 8, 8): Wrong image height! Expected 32 but got 8!; it has to accept RGB in [0, 1], "
        "(n, 3, h, w): check resize= and crop= of the image set"
    )


def test_an_error_that_is_a_sentence_already_passes_through() -> None:
    def wrong(shown: torch.Tensor) -> torch.Tensor:
        raise InputError("the model: expected images of a face")

    assert refusal(wrong) == "the model: expected images of a face"


def allocating(shown: torch.Tensor) -> torch.Tensor:
    return torch.empty(2**50, dtype=torch.uint8)


def raising(error: BaseException) -> Callable[[torch.Tensor], torch.Tensor]:
    def model(shown: torch.Tensor) -> torch.Tensor:
        raise error

    return model


@pytest.mark.parametrize(
    ("model", "kind", "words"),
    [
        (allocating, RuntimeError, "can't allocate memory"),
        (lambda shown: np.empty(2**50, np.uint8), MemoryError, "Unable to allocate"),
        (raising(torch.OutOfMemoryError("CUDA out of memory.")), torch.OutOfMemoryError, "CUDA out of memory"),
    ],
    ids=["torch on the CPU", "numpy", "CUDA"],
)
def test_out_of_memory_passes_through_the_model_for_the_engine_to_halve_the_batch(
    model: Callable[[torch.Tensor], torch.Tensor], kind: type[BaseException], words: str
) -> None:
    with pytest.raises(kind, match=words) as error:
        answers(of(model), images())
    assert out_of_memory(error.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("anything"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB."), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB, other allocations: 1.00 GB)."), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: 8 bytes"), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:81] data. DefaultCPUAllocator: not enough memory: 8 bytes"),
            True,
        ),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
        (InputError("out of memory"), False),
        (KeyboardInterrupt(), False),
    ],
    ids=str,
)
def test_out_of_memory_is_known_by_its_kind_or_its_words(error: BaseException, expected: bool) -> None:
    assert out_of_memory(error) is expected


def test_a_search_in_bfloat16_rounds_and_logits_do_not() -> None:
    exact, coarse = prepared(net()), prepared(net(), "bfloat16")
    assert (exact.searches_coarsely, coarse.searches_coarsely) == (False, True)
    assert coarse.how == exact.how
    with coarse.running(), torch.no_grad():
        searched, decided = coarse.search(names(4), images()), coarse.logits(names(4), images())
    assert searched.dtype == decided.dtype == torch.float32
    assert torch.equal(decided, answers(exact, images()))
    assert torch.equal(searched, searched.bfloat16().float())
    difference = (searched - decided).abs().max()
    assert 0 < difference < 0.05 * decided.abs().max()


def test_a_search_in_float32_is_its_logits() -> None:
    running = prepared(net())
    with running.running(), torch.no_grad():
        assert torch.equal(running.search(names(5), images(5)), running.logits(names(5), images(5)))


def gradients(running: RunningModel, answer: Callable[..., torch.Tensor]) -> torch.Tensor:
    shown = images(6).requires_grad_()
    with running.running():
        return torch.autograd.grad(answer(names(6), shown).square().sum(), shown)[0]


def test_gradients_of_a_search_in_bfloat16_are_finite_and_point_where_those_of_logits_do() -> None:
    running = prepared(net(), "bfloat16")
    exact, coarse = gradients(running, running.logits), gradients(running, running.search)
    assert coarse.dtype == torch.float32
    assert torch.isfinite(coarse).all()
    assert (nn.functional.cosine_similarity(exact.flatten(1), coarse.flatten(1)) > 0.98).all()


def test_gradients_of_a_search_in_float16_are_too_long_by_1024_and_so_not_lost_to_rounding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the CPU, which rounds to float16 as a GPU does; asked for by a user it is refused here, as it is slow."""
    monkeypatch.setattr(module, "_check_settings", lambda device, precision, compiled: None)
    running = prepared(linear(), "float16")
    shown = images(6).requires_grad_()
    with running.running():
        plain, scaled = running.logits(names(6), shown), running.search(names(6), shown)
        torch.testing.assert_close(plain, scaled, rtol=0, atol=1e-3)
        # As small as the gradient of an objective that is nearly flat.
        exact, coarse = (torch.autograd.grad(2e-7 * logits[:, 0].sum(), shown)[0] for logits in (plain, scaled))
    assert torch.isfinite(coarse).all()
    assert exact.half().count_nonzero() == 0 < exact.count_nonzero()
    torch.testing.assert_close(coarse, 1024 * exact, rtol=0, atol=0.01 * 1024 * exact.abs().max().item())


@pytest.mark.parametrize(
    ("precision", "compiled", "message"),
    [
        ("float16", False, "precision float16: expected a GPU, got cpu; choose bfloat16"),
        ("tf32", False, "precision tf32: expected a CUDA device, got cpu; choose float32"),
        ("half", False, "expected a precision out of float32, tf32, bfloat16, float16, got 'half'"),
        (
            "float32",
            True,
            "torch.compile: expected a CUDA device, got cpu, where compiling costs more than it gains; leave it out",
        ),
    ],
)
def test_settings_that_a_cpu_does_not_have_are_refused(precision: Precision, compiled: bool, message: str) -> None:
    with pytest.raises(InputError) as error:
        RunningModel(net(), 3, device=CPU, precision=precision, compiled=compiled)
    assert str(error.value) == message


def nothing_compiled(model: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda shown: model(shown)


def wrongly_compiled(model: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda shown: model(shown) * 3


def not_compiled(model: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    return raising(RuntimeError("no C compiler\nset CC"))


@pytest.mark.parametrize(
    ("compiler", "said"),
    [
        (nothing_compiled, ", compiled"),
        (wrongly_compiled, " (not compiled: answers differ by 2.0e+00)"),
        (not_compiled, " (not compiled: RuntimeError: no C compiler)"),
    ],
)
def test_a_compiled_model_is_used_where_it_answers_alike_and_else_said_why_not(
    monkeypatch: pytest.MonkeyPatch, compiler: Callable[[nn.Module], Callable[..., object]], said: str
) -> None:
    monkeypatch.setattr(module, "_check_settings", lambda device, precision, compiled: None)
    monkeypatch.setattr(torch, "compile", lambda model, dynamic: compiler(model))
    running = RunningModel(net(), 3, device=CPU, compiled=True)
    running.prepare(images())
    assert running.how == f"1 batch norms folded, channels_last{said}"
    torch.testing.assert_close(answers(running, images()), answers(prepared(net()), images()))


def test_an_ordinary_run_does_not_load_the_compiler() -> None:
    """It would take more than a second."""
    script = """
import sys, torch
from torch import nn
from pytest_robustness.running import RunningModel
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 3))
running = RunningModel(model, 3, device=torch.device("cpu"), precision="bfloat16")
images = torch.rand(4, 3, 8, 8)
running.prepare(images)
images.requires_grad_()
with running.running():
    torch.autograd.grad((running.search([""] * 4, images) + running.logits([""] * 4, images)).sum(), images)
running.signature((3, 8, 8))
print(running.how, "torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "1 batch norms folded, channels_last False\n"


class OneLayout(Net):
    """Takes images in one layout only."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if not images.is_contiguous():
            raise RuntimeError("another layout\nand a long explanation")
        return super().forward(images)


class OneLayoutUnfolded(OneLayout):
    """And with a batch norm that is not folded."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if "forward" in vars(self.norm):
            raise ValueError("no batch norm")
        return super().forward(images)


class Unfolded(Net):
    """Takes either layout, but not a folded batch norm."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) * (3 if "forward" in vars(self.norm) else 1)


def failing(shown: torch.Tensor) -> torch.Tensor:
    raise ValueError("other images please\nand a long explanation")


def wrapped(forward: Callable[[torch.Tensor], torch.Tensor]) -> nn.Module:
    model = nn.Identity()
    model.forward = forward  # type: ignore[method-assign]
    return model


@pytest.mark.parametrize(
    ("model", "how"),
    [
        (net, "1 batch norms folded, channels_last"),
        (OneLayout, "1 batch norms folded (not channels_last: RuntimeError: another layout)"),
        (Unfolded, "channels_last (not folded: answers differ by 2.0e+00)"),
        (
            OneLayoutUnfolded,
            "as given (not folded: ValueError: no batch norm; not channels_last: RuntimeError: another layout)",
        ),
        (linear, f"as given ({NOT_FOLDED})"),
        (lambda: lambda shown: shown.mean((2, 3)), "as given: a plain function"),
        (lambda: wrapped(failing), "as given: ValueError: other images please"),
    ],
    ids=["both", "folded", "channels_last", "neither", "nothing to do", "a plain function", "a model that fails"],
)
def test_how_it_is_run_says_what_was_chosen_and_why_not_more(model: Callable[[], Any], how: str) -> None:
    given = seeded(model)
    running = prepared(given)
    assert running.how == how
    assert running.prepared


def test_before_it_is_prepared_a_model_is_run_as_given() -> None:
    running = of(net())
    assert (running.how, running.prepared) == ("as given", False)
    model = net().eval()
    with torch.no_grad():
        expected = model(images())
    assert torch.equal(answers(running, images()), expected)


def test_a_model_that_returns_no_tensor_is_run_as_given_and_refused_by_the_evaluation() -> None:
    class Pairs(Net):
        def forward(self, images: torch.Tensor) -> Any:
            return super().forward(images), images

    running = prepared(seeded(Pairs))
    assert running.how == "as given"
    with pytest.raises(InputError, match=r"^the model: expected logits as a tensor of shape \(n, 3\), got tuple; "):
        answers(running, images())


def test_a_model_that_fails_on_the_first_images_only_is_run_as_given_on_the_others() -> None:
    class Picky(Net):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if len(images) < 5:
                raise ValueError("a larger batch please")
            return super().forward(images)

    model = seeded(Picky)
    before, running = state(model), prepared(model)
    assert running.how == "as given: ValueError: a larger batch please"
    assert state(model) == before
    with torch.no_grad():
        assert torch.equal(answers(running, images(6)), model.eval()(images(6)))


def test_it_is_chosen_once() -> None:
    calls: list[int] = []
    model = linear()
    model.register_forward_hook(lambda inner, inputs, output: calls.append(len(inputs[0])))
    running = prepared(model)
    chosen = len(calls)
    running.prepare(images(6))
    assert len(calls) == chosen > 0


def test_what_can_not_be_called_is_no_model() -> None:
    with pytest.raises(InputError) as error:
        of({"weights": 1})  # type: ignore[arg-type]
    assert str(error.value) == "expected a model that maps images to logits, got dict; return an nn.Module"


def test_deterministic_algorithms_are_taken_while_it_runs_and_torch_is_left_as_it_was() -> None:
    running = RunningModel(net(), 3, device=CPU, deterministic=True)
    cudnn, name = torch.backends.cudnn, "CUBLAS_WORKSPACE_CONFIG"

    def now() -> tuple[object, ...]:
        enabled, warns = (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )
        return enabled, warns, cudnn.deterministic, cudnn.benchmark, os.environ.get(name)

    before = now()
    with running.running():
        inside = now()
    assert inside == (True, True, True, False, ":4096:8")
    with pytest.raises(KeyError), running.running():
        raise KeyError
    assert now() == before == (False, False, False, False, None)


def test_what_has_no_deterministic_algorithm_runs_without_a_word() -> None:
    running = RunningModel(net(), 3, device=CPU, deterministic=True)
    with running.running():
        warnings.warn("kthvalue does not have a deterministic implementation", UserWarning, stacklevel=1)
        with pytest.warns(UserWarning, match="something else"):
            warnings.warn("something else", UserWarning, stacklevel=1)
