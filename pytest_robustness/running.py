"""The model as the engine runs it: eval mode, frozen parameters, folded, and what it answers checked.

Images are float32 RGB in [0, 1], (n, c, h, w). Everything is undone when a run ends, also after an error.
"""

import contextlib
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import torch
from torch import nn

from pytest_robustness.changes import Changes
from pytest_robustness.errors import InputError
from pytest_robustness.fingerprint import digest
from pytest_robustness.folding import Swap, Watch, folded, swapped
from pytest_robustness.restoring import deterministic_algorithms, frozen, tf32
from pytest_robustness.types import Images, Logits

__all__ = ["LEAST_BATCH", "Precision", "RunningModel", "out_of_memory"]

Precision: TypeAlias = Literal["float32", "tf32", "bfloat16", "float16"]
"""Of every answer float32 (tf32: convolutions and products of a GPU rounded to 10 bits); of an attack's search the two halves."""

LEAST_BATCH = 4
"""Smaller batches are filled up: alone, an image would take kernels that round otherwise than those of a batch, and its
answer would depend on its company. For some models it takes more: `RunningModel.fill_batches`."""
# From so many images on, the bits of an answer were the same in every batch for all models tried on a CPU.
_ALIKE = 16

# Relative to the largest logit; folding a network of 20 layers moves its logits by 1e-6 of that.
_SAME = 1e-4
# Keeps the gradients of a float16 search above the smallest float16; steps don't depend on their length.
_SCALE = 1024.0


class RunningModel:
    """A model that maps RGB in [0, 1], (n, 3, h, w), to logits (n, `classes`), run the fastest way that answers alike.

    `prepare` chooses how: batch norms are folded into the convolutions in front of them (Jacob et al. 2018, section
    3.2) and images are laid out channels_last, where the answers to the probe agree with those of the model as given
    to 1e-4 of its largest logit; `how` says what was chosen and why not more. The model is moved to `device`;
    everything else about it is as it was found whenever `running` is left.

    `most` is the most images of a batch, None until it is settled, and `changes` counts how often `changed` found another model.
    `precision` "bfloat16" or "float16" runs `search` in that precision and everything else in float32; "tf32" lets a
    GPU round to TF32, which "float32" forbids. `compiled` runs the model through torch.compile, on CUDA only.
    `deterministic` has torch take its deterministic algorithms, as far as it has some.

    Raises InputError for a model that can't be called and settings that the device doesn't have.
    """

    def __init__(
        self,
        model: Callable[[Images], Logits],
        classes: int,
        *,
        device: torch.device,
        precision: Precision = "float32",
        compiled: bool = False,
        deterministic: bool = False,
    ) -> None:
        if not callable(model):
            raise InputError(
                f"expected a model that maps images to logits, got {type(model).__name__}; return an nn.Module"
            )
        _check_settings(device, precision, compiled)
        self.model = model
        self.device = device
        self.precision = precision
        self.how = "as given"
        self.least = LEAST_BATCH
        self.most: int | None = None
        self.changes = 0
        self._repeats: bool | None = None
        self._classes = classes
        self._compiled = compiled
        self._deterministic = deterministic
        self._call: Callable[[Images], Logits] = model
        self._layout = torch.contiguous_format
        self._swaps: list[Swap] = []
        self.prepared = False
        self._depth = 0
        self._changes: Changes | None = None
        if isinstance(model, nn.Module):
            model.to(device)
            self._changes = Changes(model)

    def changed(self) -> bool:
        """Whether the model is another one since the last run, as far as `Changes` sees; what was chosen and answered is
        then void."""
        if self.active or self._changes is None or not self._changes.seen():
            return False
        self._changes.look()
        self.prepared = False
        self.changes += 1
        return True

    def prepare(self, probe: Images) -> None:
        """Choose how to run the model, once, by its answers to these images; a model that fails on them is run as given."""
        if not self.prepared:
            self.prepared = True
            self._prepare(probe)
            self.how += ", deterministic algorithms" * self._deterministic

    def _prepare(self, probe: Images) -> None:
        self._repeats = None
        self._call, self._layout, self._swaps, self.how = self.model, torch.contiguous_format, [], "as given"
        self.least = LEAST_BATCH
        model = self.model
        if not isinstance(model, nn.Module):
            self.how = "as given: a plain function"
            return
        with self.running(), torch.no_grad():
            try:
                with Watch(model) as watch:
                    expected = model(probe.clone())
                if not isinstance(expected, torch.Tensor):
                    return
                self._choose(model, watch, probe, expected)
                if self._compiled:
                    self._compile(probe, expected)
            except Exception as error:  # the evaluation itself says what is wrong, with the images' names
                self._call, self._layout, self._swaps = model, torch.contiguous_format, []
                self.how = f"as given: {_reason(error)}"

    @property
    def active(self) -> bool:
        """Whether a `running` is open."""
        return self._depth > 0

    @property
    def searches_coarsely(self) -> bool:
        """Whether `search` rounds more than `logits`."""
        return self.precision in ("bfloat16", "float16")

    def signature(self, shape: tuple[int, ...]) -> str:
        """A digest of the answers to four images of noise, to the bit: what makes a model another one shows here too.

        `shape` is that of one image. Of noise, so that it does not depend on which images a set has.
        """
        try:
            return digest(self._of_noise(shape, LEAST_BATCH))
        except InputError as error:
            return str(error)

    def repeats(self, shape: tuple[int, ...]) -> bool:
        """Whether it says the same again to the same images, to the bit, also while a gradient is computed; tried out once
        on four images of noise of this shape.
        """
        if self._repeats is None:
            self._repeats = False
            # The evaluation itself says what is wrong.
            with contextlib.suppress(InputError, RuntimeError, MemoryError):
                once, again = (self._of_noise(shape, LEAST_BATCH) for _ in range(2))
                with_gradient = self._of_noise(shape, LEAST_BATCH, gradient=True)
                self._repeats = torch.equal(once, again) and torch.equal(once, with_gradient)
        return self._repeats

    def fill_batches(self, shape: tuple[int, ...], most: int) -> None:
        """Fill smaller batches up with copies, to `least` images, so that an answer has the same bits in every batch of
        at most `most` images.

        On a CPU, where torch takes other kernels for few images; on a GPU no size would do.
        """
        self.least = LEAST_BATCH
        alike = min(_ALIKE, most)
        if self.device.type != "cpu" or alike <= LEAST_BATCH:
            return
        # The evaluation itself says what is wrong, and halves what does not fit.
        with contextlib.suppress(InputError, RuntimeError, MemoryError):
            together = self._of_noise(shape, alike)
            if not torch.equal(together[:LEAST_BATCH], self._of_noise(shape, LEAST_BATCH)):
                self.least = alike

    def _of_noise(self, shape: tuple[int, ...], n: int, *, gradient: bool = False) -> Logits:
        """The answers to `n` images of noise, at most 16, the same ones in every run."""
        noise = torch.rand(_ALIKE, *shape, generator=torch.Generator().manual_seed(0))[:n].to(self.device)
        with self.running(), torch.set_grad_enabled(gradient):
            return self.logits([""] * n, noise.requires_grad_(gradient)).detach()

    def bytes_per_image(self, probe: Images) -> int:
        """What one image more takes on a CUDA device while a gradient is computed; 0 where it can't be told."""
        peaks = []
        for images in (probe, torch.cat([probe, probe])):
            torch.cuda.reset_peak_memory_stats(self.device)
            with self.running(), torch.enable_grad():
                images = images.detach().requires_grad_()
                try:
                    torch.autograd.grad(self.logits([""] * len(images), images).sum(), images)
                except (InputError, RuntimeError):
                    # The evaluation itself says what is wrong.
                    return 0
            peaks.append(torch.cuda.max_memory_allocated(self.device))
        return max(0, peaks[1] - peaks[0]) // len(probe)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """The model in eval mode, frozen and folded; afterwards, also after an error, as it was found."""
        if self.active:
            yield
            return
        with contextlib.ExitStack() as undo:
            self._depth = 1
            undo.callback(setattr, self, "_depth", 0)
            if self._deterministic:
                undo.enter_context(deterministic_algorithms())
            if self.device.type == "cuda":
                undo.enter_context(tf32(self.precision == "tf32"))
            if isinstance(self.model, nn.Module):
                # Taken last: a buffer that the forward itself counts up is no change of the user's.
                undo.callback(self._look)
                undo.enter_context(frozen(self.model))
                undo.enter_context(swapped(self._swaps))
            yield

    @contextlib.contextmanager
    def as_given(self) -> Iterator[None]:
        """The model in eval mode and frozen, but with its own layers: for whoever looks at them. Otherwise as `running`."""
        swaps, self._swaps = self._swaps, []
        try:
            with self.running():
                yield
        finally:
            self._swaps = swaps

    def _look(self) -> None:
        if self._changes is not None:
            self._changes.look()

    def logits(self, ids: Sequence[str], images: Images) -> Logits:
        """(n, classes) float32, checked; `ids` name the images where each is in the batch.

        Raises InputError, one sentence, for whatever the model raises and for answers that are no finite logits. Out
        of memory passes through.
        """
        n = len(images)
        if n < self.least:
            images = torch.cat([images, images[:1].expand(self.least - n, -1, -1, -1)])
        try:
            # A copy, as a model may write to what it is shown.
            logits = self._call(images.clone(memory_format=self._layout))
        except InputError:
            raise
        except Exception as error:
            if out_of_memory(error):
                raise
            raise InputError(
                f"the model raised {type(error).__name__} {_origin(error)} on images of shape {tuple(images.shape)}: "
                f"{_first_line(error)}; it has to accept RGB in [0, 1], (n, 3, h, w): check resize= and crop= of the image set"
            ) from error
        checked = _checked_logits(logits, len(images), self._classes)[:n]
        _check_values(checked.detach(), ids)
        return checked

    def search(self, ids: Sequence[str], images: Images) -> Logits:
        """`logits` in the precision of a search: good for a direction, never for a verdict."""
        if not self.searches_coarsely:
            return self.logits(ids, images)
        with torch.autocast(self.device.type, dtype=getattr(torch, self.precision)):
            logits = self.logits(ids, images)
        if self.precision == "float16":
            logits = logits + (_SCALE - 1) * (logits - logits.detach())
        return logits

    def _choose(self, model: nn.Module, watch: Watch, probe: Images, expected: Logits) -> None:
        """The first of: folded and channels_last, folded, channels_last, whose answers agree with the expected ones."""
        folding = [swap for conv, norm in watch.pairs for swap in folded(conv, norm)]
        # On CUDA channels_last is the layout of the tensor cores, which float32 proper doesn't use.
        fast = watch.convolves and (self.device.type != "cuda" or self.precision != "float32")
        wanted = [(folding, torch.channels_last)] * fast + [(folding, torch.contiguous_format)] * bool(folding)
        wanted += [([], torch.channels_last)] * (fast and bool(folding))
        refused = {} if folding else {"folded": "no batch norm directly behind a convolution"}
        for swaps, layout in wanted:
            try:
                with swapped(swaps):
                    got = model(probe.clone(memory_format=layout))
                difference = ((got - expected).abs().max() / expected.abs().max().clamp_min(1e-12)).item()
                said = f"answers differ by {difference:.1e}"
            except Exception as error:  # a layout may break a model's own reshaping
                if out_of_memory(error):
                    raise
                difference, said = torch.inf, _reason(error)
            if difference <= _SAME:
                self._swaps, self._layout = swaps, layout
                break
            refused["channels_last" if layout is torch.channels_last else "folded"] = said
        norms = f"{len(watch.pairs)} batch norms folded"
        chosen = {"folded": bool(self._swaps), "channels_last": self._layout is torch.channels_last}
        parts = [norms if name == "folded" else name for name, is_chosen in chosen.items() if is_chosen]
        why = [f"not {name}: {refused[name]}" for name in chosen if name in refused and not chosen[name]]
        self.how = ", ".join(parts or ["as given"]) + (f" ({'; '.join(why)})" if why else "")

    def _compile(self, probe: Images, expected: Logits) -> None:
        chosen = self._call
        self._call = torch.compile(self.model, dynamic=True)
        try:
            with swapped(self._swaps):
                got = self._call(probe.clone(memory_format=self._layout))
            difference = ((got - expected).abs().max() / expected.abs().max().clamp_min(1e-12)).item()
            said = f"answers differ by {difference:.1e}"
        except Exception as error:  # whatever the compiler can't do, the model can
            difference, said = torch.inf, _reason(error)
        if difference <= _SAME:
            self.how += ", compiled"
            return
        self._call = chosen
        self.how += f" (not compiled: {said})"


def out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch may help: CUDA's and MPS's errors, and those of torch's allocator on a CPU."""
    texts = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in texts)
    )


def _check_settings(device: torch.device, precision: str, compiled: bool) -> None:
    if precision not in get_args(Precision):
        raise InputError(f"expected a precision out of {', '.join(get_args(Precision))}, got {precision!r}")
    if precision == "tf32" and device.type != "cuda":
        raise InputError(f"precision tf32: expected a CUDA device, got {device}; choose float32")
    if precision == "float16" and device.type == "cpu":
        raise InputError(f"precision float16: expected a GPU, got {device}; choose bfloat16")
    if compiled and device.type != "cuda":
        raise InputError(
            f"torch.compile: expected a CUDA device, got {device}, where compiling costs more than it gains; leave it out"
        )


def _origin(error: Exception) -> str:
    """Where the model's own code raised: `at file:line`, past the frames of torch and of this file, or `inside torch`."""
    others = (f"{Path(torch.__file__).parent}{os.sep}", __file__, "<")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(others)]
    return f"at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "inside torch"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {_first_line(error)}"


def _checked_logits(logits: object, n: int, k: int) -> Logits:
    if not isinstance(logits, torch.Tensor):
        raise InputError(
            f"the model: expected logits as a tensor of shape (n, {k}), got {type(logits).__name__}; "
            "return the logits alone"
        )
    if logits.shape != (n, k) or not logits.is_floating_point():
        raise InputError(
            f"the model: expected float logits of shape (n, {k}), a row for each of n = {n} images and a column for each class "
            f"of the image set, got {str(logits.dtype).removeprefix('torch.')} of shape {tuple(logits.shape)}; "
            "give the image set the model's own classes, or fix the model's last layer"
        )
    return logits.float()


def _check_values(logits: Logits, ids: Sequence[str]) -> None:
    """Refuse logits that are not finite, or are probabilities; `ids` name the rows where an attack has kept them all."""
    finite = torch.isfinite(logits).all(1)
    if not finite.all():
        bad = (~finite).nonzero().flatten().tolist()
        first = f", first {ids[bad[0]]}" if len(ids) == len(logits) else ""
        raise InputError(
            f"the model: expected finite logits, got NaN or infinity for {len(bad)} of {len(logits)} images{first}; "
            "look for a division by zero or an overflow in its forward"
        )
    if logits.shape[1] > 1 and (logits >= 0).all() and ((logits.sum(1) - 1).abs() < 1e-3).all():
        raise InputError(
            "the model: expected logits, got probabilities (every row is >= 0 and sums to 1), which hide gradients from "
            "attacks; return what goes into the softmax"
        )
