"""Attention rollout: which patches the class token of a vision transformer has looked at, through all its layers.

Images are float32 RGB in [0, 1], (n, 3, h, w); attention (n, t, t) from each token to each, rows add up to 1.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from pytest_robustness.errors import InputError
from pytest_robustness.explanations.heat import Heat, PlainExplanation, check_asked, of_classes, watchable
from pytest_robustness.restoring import frozen
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Classifier, Images, constructor_call

__all__ = ["AttentionRollout"]

_PARAMETERS = (
    "query",
    "key",
    "value",
    "key_padding_mask",
    "need_weights",
    "attn_mask",
    "average_attn_weights",
    "is_causal",
)


@dataclass(frozen=True, repr=False)
class AttentionRollout:
    """The product over layers of (A + I) / 2, A the mean over heads (Abnar, Zuidema 2020, section 3, equation 1).

    The heat is the class token's row over the patches: the class token is the first one, the patches follow row by row. For
    models whose attention is torch.nn.MultiheadAttention, torchvision's among them. The heat of an image is the same for every
    class.
    """

    watches_layers: ClassVar[bool] = True
    segmenter: ClassVar[None] = None
    __repr__ = constructor_call

    def explain(
        self,
        classifier: Classifier,
        images: Images,
        classes: torch.Tensor,
        streams: Streams,
        *,
        segments: torch.Tensor | None = None,
    ) -> tuple[PlainExplanation, ...]:
        """A heat per image, >= 0, upsampled to the image (bilinear); all images go through the model together.

        Raises InputError for a classifier that is no nn.Module, one without torch.nn.MultiheadAttention, and tokens that
        are not one class token and a grid of patches in the image's proportions.
        """
        check_asked(self, images, classes, streams)
        model = watchable(self, classifier)
        if not len(images):
            return ()
        layers: list[torch.Tensor] = []
        with frozen(model), torch.no_grad(), _watched(model, layers):
            of_classes(self, model(images.detach().clone()), classes)
        tokens = self._tokens(layers, len(images))
        rolled = identity = torch.eye(tokens, device=images.device)
        for attention in layers:
            rolled = (attention.float() + identity) / 2 @ rolled
        patches = rolled[:, 0, 1:].reshape(len(images), 1, *self._grid(tokens, images))
        heats = F.interpolate(patches, images.shape[-2:], mode="bilinear").squeeze(1)
        note = "the same for every class"
        return tuple(PlainExplanation(Heat(heat, repr(self), note, believable=True)) for heat in heats)

    def _tokens(self, layers: list[torch.Tensor], n: int) -> int:
        if not layers:
            raise InputError(
                f"{self!r}: expected a model with torch.nn.MultiheadAttention, found none that was asked; "
                "take GradCAM() for a convolutional network, or Lime()"
            )
        shapes = sorted({tuple(attention.shape) for attention in layers})
        tokens = shapes[0][-1]
        if shapes != [(n, tokens, tokens)]:
            got = ", ".join(str(shape) for shape in shapes)
            raise InputError(
                f"{self!r}: expected attention between the same tokens of each image in all layers, got {got}"
            )
        return tokens

    def _grid(self, tokens: int, images: Images) -> tuple[int, int]:
        """How many rows and columns of patches there are."""
        height, width = images.shape[-2:]
        patches = tokens - 1
        rows = max(1, round((patches * height / width) ** 0.5))
        columns = patches // rows
        if rows * columns != patches or patches < 2:
            raise InputError(
                f"{self!r}: expected one class token and a grid of patches in the image's proportions, "
                f"got {tokens} tokens for images of {width} x {height} pixels"
            )
        return rows, columns


@contextlib.contextmanager
def _watched(model: nn.Module, layers: list[torch.Tensor]) -> Iterator[None]:
    """Every attention of the model is noted, (n, t, t), in the order of the layers; the model is answered as it asked."""
    asked: dict[nn.Module, bool] = {}

    def ask(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        call = dict(zip(_PARAMETERS, args, strict=False)) | kwargs
        asked[module] = call.get("need_weights", True)
        return (), call | {"need_weights": True}

    def note(module: nn.Module, args: Any, output: tuple[torch.Tensor, torch.Tensor]) -> Any:
        made, attention = output
        layers.append(attention.mean(1) if attention.ndim == 4 else attention)
        return output if asked[module] else (made, None)

    mha = torch.backends.mha
    fast = mha.get_fastpath_enabled()
    with contextlib.ExitStack() as hooks:
        for module in model.modules():
            if isinstance(module, nn.MultiheadAttention):
                hooks.enter_context(module.register_forward_pre_hook(ask, with_kwargs=True))
                hooks.enter_context(module.register_forward_hook(note))
        # The fast path of nn.TransformerEncoderLayer computes attention without asking the module for it.
        hooks.callback(mha.set_fastpath_enabled, fast)
        mha.set_fastpath_enabled(False)
        yield
