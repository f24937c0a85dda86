"""Grad-CAM: where the last convolutional stage of a model speaks for a class.

Images are float32 RGB in [0, 1], (n, 3, h, w); maps (n, c, h', w') are what a layer makes of them.
"""

import contextlib
import difflib
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

__all__ = ["GradCAM"]

# So many layers are named in a message.
_NAMED = 5


@dataclass(frozen=True, repr=False)
class GradCAM:
    """ReLU of the maps of a layer, each times the mean of its gradient (Selvaraju et al. 2017, equations 1 and 2).

    `layer` is its name in `model.named_modules()`. Without one it is the last, in the order in which they answer, whose
    output is maps, at or behind a convolution: `layer4` of a ResNet, `features` of a MobileNetV2. Where tokens come after it,
    as in a vision transformer, there is none. The logit is explained, not the probability.
    """

    layer: str | None = None

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

        Where nothing in the layer speaks for the class the heat is 0 everywhere, and not believable.

        Raises InputError for a classifier that is no nn.Module, a layer that it does not have, that has no maps or that
        the logits don't depend on, and a model in which none is found.
        """
        check_asked(self, images, classes, streams)
        model = watchable(self, classifier)
        if not len(images):
            return ()
        with frozen(model):
            name = self._layer_of(model, images[:1])
            maps, gradients = self._slopes(model, name, images, classes)
        small = F.relu((gradients.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True))
        heats = F.interpolate(small, images.shape[-2:], mode="bilinear").squeeze(1).float()
        return tuple(PlainExplanation(self._heat(heat, name, small.shape)) for heat in heats)

    def _heat(self, heat: torch.Tensor, name: str, shape: torch.Size) -> Heat:
        if not heat.any():
            return Heat(heat, repr(self), f"nothing in {name} speaks for the class", believable=False)
        return Heat(heat, repr(self), f"{shape[-2]} x {shape[-1]} values of {name}", believable=True)

    def _layer_of(self, model: nn.Module, image: Images) -> str:
        """The name of the layer to watch, as it is used on one image."""
        if self.layer is not None:
            names = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
            if self.layer not in names:
                near = difflib.get_close_matches(self.layer, names, n=3) or names[-_NAMED:]
                raise InputError(
                    f"{self!r}: expected a layer of the model, got {self.layer!r}; the nearest names are {_listed(near)}"
                )
        outputs = _outputs(model, image)
        mapped = [output.name for output in outputs if output.has_maps]
        if self.layer is None:
            return self._last_stage(outputs, mapped, image)
        # By what it is, as a layer may have several names.
        layer = model.get_submodule(self.layer)
        own = [output for output in outputs if output.module is layer]
        if not any(output.has_maps for output in own):
            got = f"got {own[-1].shape} for one image" if own and own[-1].shape else "got no tensor"
            named = f"; layers with such an output are {_listed(mapped[-_NAMED:])}" if mapped else ""
            raise InputError(f"{self!r}: expected a layer that answers with maps (n, c, h, w), {got}{named}")
        return self.layer

    def _last_stage(self, outputs: "list[_Output]", mapped: list[str], image: Images) -> str:
        found, convolved = None, False
        for output in outputs:
            convolved = convolved or output.convolves
            # An adaptive pooling makes maps of the size that the head needs of whatever comes, be it one pixel.
            if isinstance(output.module, (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)):
                continue
            if output.is_like(image):
                found = output.name if convolved else found
            elif output.has_places:
                found = None
        if found is None:
            named = f"name one of its layers with maps: {_listed(mapped[-_NAMED:])}" if mapped else "take Lime()"
            raise InputError(
                f"{self!r}: expected a model whose last stage gives maps (n, c, h, w), found none; "
                f"take AttentionRollout() for a vision transformer, or {named}"
            )
        return found

    def _slopes(
        self, model: nn.Module, name: str, images: Images, classes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The maps of the layer, and the gradient of each image's logit with respect to them."""
        kept: list[torch.Tensor] = []

        def keep(module: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
            # The last maps count of a layer that answers more than once, as an activation that a head shares does.
            if not isinstance(output, torch.Tensor) or output.ndim != 4 or output[0, 0].numel() < 2:
                return output
            # Detached, so that nothing is remembered of the layers in front.
            kept[:] = [output.detach().requires_grad_()]
            # A copy goes on, as what follows may write to it.
            return kept[0].clone()

        with model.get_submodule(name).register_forward_hook(keep), torch.enable_grad():
            logits = of_classes(self, model(images.detach().clone()), classes)
            (maps,) = kept
            (gradients,) = (
                torch.autograd.grad(logits.sum(), maps, allow_unused=True) if logits.requires_grad else (None,)
            )
        if gradients is None:
            raise InputError(
                f"{self!r}: expected logits that depend on {name} by differentiable operations, got logits without a "
                "gradient to it; name another layer, or remove no_grad and detach() from the model's forward"
            )
        return maps.detach(), gradients


@dataclass(frozen=True, eq=False)
class _Output:
    """What a layer made of one image: its shape, () where it is no tensor."""

    name: str
    module: nn.Module
    shape: tuple[int, ...]

    @property
    def convolves(self) -> bool:
        """Whether it is a convolution, be it one of the user's own: by its kernel."""
        return isinstance(self.module, nn.Conv2d) or any(p.ndim == 4 for p in self.module.parameters(recurse=False))

    @property
    def has_maps(self) -> bool:
        return len(self.shape) == 4 and self.shape[0] == 1 and self.shape[2] * self.shape[3] > 1

    @property
    def has_places(self) -> bool:
        """Whether there is more than one vector: of tokens, or of pixels whose channels come last."""
        return sum(size > 1 for size in self.shape[1:]) > 1

    def is_like(self, image: Images) -> bool:
        """Whether it has maps of about the image's proportions; channels that come last are no side of a picture."""
        if not self.has_maps:
            return False
        (height, width), (rows, columns) = image.shape[-2:], self.shape[-2:]
        return 0.5 <= rows * width / (columns * height) <= 2


def _outputs(model: nn.Module, image: Images) -> list[_Output]:
    """The outputs of all layers but the whole, in the order in which they came."""
    seen: list[_Output] = []
    with contextlib.ExitStack() as hooks, torch.no_grad():
        for name, module in model.named_modules():
            if name:

                def note(module: nn.Module, args: Any, output: Any, name: str = name) -> None:
                    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else ()
                    seen.append(_Output(name, module, shape))

                hooks.enter_context(module.register_forward_hook(note))
        model(image.clone())
    return seen


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
