"""LIME: a linear model of which superpixels of an image an answer rests on.

Images are float32 RGB in [0, 1], (n, 3, h, w); segments (n, h, w) int64, the number of each pixel's superpixel, from 0 in each
image by itself; masks (samples, s) bool, which of an image's s superpixels are shown.
"""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import torch

from pytest_robustness.attacks.settings import check_whole
from pytest_robustness.errors import InputError
from pytest_robustness.explanations.heat import Heat, check_asked, check_number, of_classes
from pytest_robustness.explanations.hiding import Asked, Fill, Scene, asking, check_fill
from pytest_robustness.explanations.segments import Quickshift, Segmenter, default_segments
from pytest_robustness.perturbations.choices import check_choice
from pytest_robustness.seeding import Streams
from pytest_robustness.types import Classifier, Images, Logits, constructor_call

__all__ = ["Answer", "Lime", "LimeExplanation", "published_lime"]

Answer: TypeAlias = Literal["logits", "probabilities"]

# About so many superpixels an image is cut into that nothing is said of.
_SUPERPIXELS = 50
# Relative to the largest answer; float32 answers to the same image differ by so much between batches.
_SAME = 1e-6


@dataclass(frozen=True, eq=False)
class LimeExplanation:
    """What LIME says about one image: a weight for each of its superpixels, and how far to believe it.

    `heat` has the weight of every pixel's superpixel; `segments` (h, w) int64; `weights` (s,) float64, what showing each
    superpixel adds to the answer. `r2` is the weighted share of the answers' variance that the weights explain, and
    `adjusted_r2` what is left of it without what as many superpixels explain of noise (1 - (1 - R2) (m - 1) / (m - s - 1) of m
    samples); both are 0 where they can't be told.
    """

    heat: Heat
    segments: torch.Tensor
    weights: torch.Tensor
    r2: float
    adjusted_r2: float

    @property
    def parts(self) -> tuple[int, ...]:
        return self.top() if self.heat.believable else ()

    def top(self, n: int = 4) -> tuple[int, ...]:
        """The numbers of the `n` superpixels that speak most for the class, the first one most; fewer where fewer do.

        Raises InputError where the linear model explains too little to rank them.
        """
        if not self.heat.believable:
            raise InputError(
                f"{self.heat.method}: expected weights that can be ranked, got {self.heat.note}; "
                "take more samples, other superpixels or another fill"
            )
        if n < 1:
            raise InputError(f"expected at least 1 superpixel, got {n}")
        order = self.weights.argsort(descending=True, stable=True)[:n]
        return tuple(number for number in order.tolist() if self.weights[number] > 0)

    def region(self, n: int = 4) -> torch.Tensor:
        """(h, w) bool: the pixels of the `top` superpixels; raises as that does."""
        top = torch.tensor(self.top(n), dtype=torch.int64, device=self.segments.device)
        return torch.isin(self.segments, top)


@dataclass(frozen=True, repr=False)
class Lime:
    """A weighted linear regression of answers on which superpixels are shown (Ribeiro, Singh, Guestrin 2016, equation 1).

    `samples` times each superpixel is shown or hidden with probability 1/2, by image id; the first sample is the whole image.
    A sample that shows k of s superpixels weighs sqrt(exp(-d^2 / kernel_width^2)), d = 1 - sqrt(k / s) the cosine distance to
    the whole. `ridge` is the strength of the L2 penalty of the weights, not of the intercept; with 0 it is least squares, of
    the smallest norm where there are several. `of` says which answer is explained, the class's logit or its probability.

    `fill` is what a hidden superpixel shows: its own mean colour by default, "grey", a number from 0 to 1, or one of
    `Backgrounds`, drawn for each sample. A model that looks at mean colours alone can't tell the first from the superpixel
    itself. `segments` cuts images into superpixels, by default `default_segments(50)`.

    Weights are believed from an adjusted R2 of `least_r2` on: noise alone has a plain R2 of 0.33 with 50 superpixels and 150
    samples.
    """

    segments: Segmenter | None = None
    samples: int = 150
    kernel_width: float = 0.25
    ridge: float = 1.0
    fill: Fill = "mean"
    of: Answer = "logits"
    least_r2: float = 0.3

    watches_layers: ClassVar[bool] = False
    __repr__ = constructor_call

    def __post_init__(self) -> None:
        check_whole(self, "samples", least=2)
        check_number(self, "kernel_width", "> 0", lambda value: value > 0)
        check_number(self, "ridge", ">= 0 (0 is least squares)", lambda value: value >= 0)
        check_number(self, "least_r2", "from 0 to 1", lambda value: 0 <= value <= 1)
        check_fill(self, self.fill)
        check_choice(self, "of", Answer)

    @property
    def segmenter(self) -> Segmenter:
        return self.segments or default_segments(_SUPERPIXELS)

    def explain(
        self,
        classifier: Classifier,
        images: Images,
        classes: torch.Tensor,
        streams: Streams,
        *,
        segments: torch.Tensor | None = None,
    ) -> tuple[LimeExplanation, ...]:
        """An explanation per image; the samples of all images share the model's batches.

        With `segments` (n, h, w) the images are cut as they say: those of a clean image and the same streams explain the
        stressed one by the same samples.

        Raises InputError for segments that are none of these images, and for classes that the logits don't have.
        """
        check_asked(self, images, classes, streams)
        if not len(images):
            return ()
        settings = dataclasses.replace(self, segments=self.segmenter) if segments is None else self
        segments = self.segmenter(images) if segments is None else segments
        scene = Scene.of(self, images, segments, self.fill)
        asked = {row: self._asked(streams.select([row]), s) for row, s in enumerate(scene.superpixels)}
        with asking(classifier):
            answers = scene.answers(classifier, classes, asked, self._said)
        return tuple(
            settings._explanation(scene.segments[row], asked[row].masks, answers[row].double()) for row in asked
        )

    def _asked(self, stream: Streams, count: int) -> Asked:
        """The samples of one image, on the CPU, so that it has the same ones on every device."""
        # Of each image by itself: how many superpixels its neighbours have must not change its samples.
        masks = stream.child("masks").uniform(torch.empty(1, self.samples, count))[0] < 0.5
        masks[0] = True
        return Asked(masks, stream.child("fills").uniform(torch.empty(1, self.samples))[0])

    def _said(self, logits: Logits, classes: torch.Tensor) -> torch.Tensor:
        """(n,) what the logits (n, k) say of the classes (n,)."""
        said = of_classes(self, logits, classes)
        return said if self.of == "logits" else (said - logits.logsumexp(1)).exp()

    def _explanation(self, segments: torch.Tensor, masks: torch.Tensor, answers: torch.Tensor) -> LimeExplanation:
        s = masks.shape[1]
        # On the CPU: the system is small, and not every device has float64.
        weights, r2 = self._fit(masks.double(), answers)
        free = self.samples - s - 1
        adjusted = 1 - (1 - r2) * (self.samples - 1) / free if free > 0 and r2 else 0.0
        said = f"R2 {r2:.2f} (adjusted {adjusted:.2f}) over {self.samples} samples"
        doubt = ""
        if s == 1:
            doubt = "one superpixel, the whole image"
        elif not r2:
            doubt = "the same answer whichever superpixels are hidden"
        elif free < 1:
            doubt = f"{self.samples} samples for {s} superpixels, which fit anything"
        elif adjusted < self.least_r2:
            doubt = f"adjusted R2 {adjusted:.3f} (plain {r2:.3f}) over {self.samples} samples, below {self.least_r2:g}"
        heat = weights.float().to(segments.device)[segments]
        return LimeExplanation(Heat(heat, repr(self), doubt or said, not doubt), segments, weights, r2, adjusted)

    def _fit(self, masks: torch.Tensor, answers: torch.Tensor) -> tuple[torch.Tensor, float]:
        """The weights (s,) of the superpixels and R2, of masks and answers in float64; 0 where all answers are the same."""
        distances = 1 - masks.mean(1).sqrt()
        kernel = (-(distances**2) / self.kernel_width**2).exp().sqrt().unsqueeze(1)
        share = kernel / kernel.sum()
        # Centred, so that the intercept is not among what the ridge penalises.
        x, y = ((values - (share * values).sum(0)) * kernel.sqrt() for values in (masks, answers.unsqueeze(1)))
        u, singular, v = torch.linalg.svd(x, full_matrices=False)
        there = singular > max(x.shape) * torch.finfo(x.dtype).eps * singular[0]
        inverse = torch.where(there, singular / (singular**2 + self.ridge).clamp_min(torch.finfo(x.dtype).tiny), 0)
        weights = v.T @ (inverse.unsqueeze(1) * (u.T @ y))
        if (answers - answers.mean()).abs().max() <= _SAME * answers.abs().max():
            return torch.zeros_like(weights[:, 0]), 0.0
        return weights[:, 0], float(1 - (y - x @ weights).square().sum() / y.square().sum())


def published_lime() -> Lime:
    """LIME as it is commonly published for images: quickshift superpixels, probabilities, unpenalised least squares.

    What is hidden is grey there: 0 of images in [-1, 1]. The published ranking takes the four largest weights, whatever R2 is;
    ours is refused where the adjusted R2 is below 0.3.
    """
    return Lime(segments=Quickshift(), ridge=0.0, fill="grey", of="probabilities")
