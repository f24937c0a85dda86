"""Explanations of what the model of an engine says, and the pictures that are made of them.

Images are float32 RGB in [0, 1], (n, 3, h, w); heats (h, w).
"""

import contextlib
import dataclasses
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from pytest_robustness.engine import Engine
from pytest_robustness.explained import Panel
from pytest_robustness.explanations import AttentionRollout, Explainer, Explanation, GradCAM, Heat, Lime
from pytest_robustness.images import data_uri, heat_uri
from pytest_robustness.types import Batch, Images

__all__ = ["Explainers", "pointed_at", "speaks", "top_fifth"]

_THUMBNAIL = 112
_FACTORS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


class Explainers:
    """Asks one explainer about the model of an engine alone, whatever it is behind.

    Without one it is Grad-CAM where the model has maps to look at, attention rollout for a vision transformer, and LIME for
    anything else. Superpixels are cut once, of the clean image, and are those of all its stressed versions.
    """

    def __init__(self, engine: Engine, by: Explainer | None = None) -> None:
        self._engine = engine.behind(None)
        self._by = by

    def of(self, clean: Batch, shown: Images, classes: Sequence[int]) -> Sequence[Explanation]:
        """The explanation of a class of each of the images `shown`, which were made of the clean ones in the same rows.

        Raises InputError as the explainer does.
        """
        engine, by = self._engine, self.method
        wanted = torch.tensor(classes, device=shown.device)
        batch = dataclasses.replace(clean, images=shown)
        return engine.explained(by, batch, wanted, segments=self._cut(by, clean))

    @property
    def method(self) -> Explainer:
        """The explainer, chosen by what the model is where none was given."""
        if self._by is None:
            self._by = next((own for own in (GradCAM(), AttentionRollout()) if self._works(own)), Lime())
        return self._by

    def _works(self, explainer: Explainer) -> bool:
        """Whether it has something to say of the model, tried out on one image."""
        engine = self._engine
        probe = engine.images.probe(1)
        if probe is None:
            return False
        first = Batch(probe.to(engine.device), torch.ones(1, len(engine.images.classes)).bool(), ("",))
        # A model may raise anything where it is looked into.
        with contextlib.suppress(Exception):
            engine.explained(explainer, first, torch.zeros(1, dtype=torch.long, device=engine.device))
            return True
        return False

    def _cut(self, by: Explainer, clean: Batch) -> torch.Tensor | None:
        segmenter = by.segmenter
        if segmenter is None:
            return None
        known, keys = self._engine.superpixels, [(image_id, repr(segmenter)) for image_id in clean.ids]
        found = {key: known.get(key) for key in dict.fromkeys(keys)}
        missing = [keys.index(key) for key, cut in found.items() if cut is None]
        if missing:
            for row, cut in zip(missing, segmenter(clean.images[missing]), strict=True):
                found[keys[row]] = cut
                known.put(keys[row], cut)
        return torch.stack([cut for key in keys if (cut := found[key]) is not None])

    def panels(self, clean: Batch, stressed: Images) -> tuple[Panel, ...]:
        """What is shown beside one image and its stressed version: their difference, and what speaks for either label.

        The right label is explained on the clean image, and the model's answer to the stressed one on that: where it broke, the
        wrong label.
        """
        engine = self._engine
        names = engine.images.classes
        right, wrong = self._labels(clean, stressed)
        first, second = self.of(_twice(clean), torch.cat([clean.images, stressed]), [right, wrong])
        delta = stressed[0] - clean.images[0]
        most = float(delta.abs().max())
        factor = max((factor for factor in _FACTORS if factor * most <= 0.5), default=1)
        return (
            Panel(f"difference x {factor}, grey is none", data_uri(_small(0.5 + factor * delta))),
            _heat_panel(f"{names[right]} on the clean image", clean.images[0], first),
            _heat_panel(f"{names[wrong]} on the stressed image", stressed[0], second),
        )

    def _labels(self, clean: Batch, stressed: Images) -> tuple[int, int]:
        engine = self._engine
        before, after = (
            engine.logits(dataclasses.replace(clean, images=images))[0] for images in (clean.images, stressed)
        )
        accepted = clean.accepted[0]
        right = int(before.masked_fill(~accepted, -torch.inf).argmax())
        return right, int(after.argmax())


def _heat_panel(caption: str, image: torch.Tensor, found: Explanation) -> Panel:
    said = found.heat
    overlay = heat_uri(said.heat) if speaks(said) else ""
    note = said.note if said.believable else f"{said.note}; not to be believed"
    return Panel(caption, data_uri(_small(image)), overlay, note)


def _small(image: torch.Tensor) -> torch.Tensor:
    """A picture of at most 112 pixels on its long side."""
    scale = _THUMBNAIL / max(image.shape[-2:])
    if scale >= 1:
        return image
    size = [max(1, round(side * scale)) for side in image.shape[-2:]]
    return F.interpolate(image.unsqueeze(0), size=size, mode="area")[0]


def _twice(batch: Batch) -> Batch:
    return Batch(batch.images.repeat(2, 1, 1, 1), batch.accepted.repeat(2, 1), batch.ids * 2)


def speaks(heat: Heat) -> bool:
    """Whether it may be believed, and anything in it speaks for the class."""
    return heat.believable and bool((heat.heat > 0).any())


def top_fifth(heat: torch.Tensor, *, side: int = 32) -> torch.Tensor:
    """(m,) bool: the fifth of the places of a heat (h, w) where it is highest, on a grid of at most `side` x `side`.

    Fewer where less than a fifth of them is above 0: places that say nothing are no part of an explanation.
    """
    grid = (min(side, heat.shape[0]), min(side, heat.shape[1]))
    coarse = F.adaptive_avg_pool2d(heat[None, None].float(), grid).flatten()
    bar = coarse.topk(max(1, len(coarse) // 5)).values[-1]
    # What upsampling rounds apart is no difference.
    return (coarse >= bar - 1e-5 * bar.abs()) & (coarse > 0)


def pointed_at(heat: torch.Tensor) -> tuple[int, int]:
    """The pixel (x, y) where a heat (h, w) is highest; of several the one nearest to their middle."""
    places = (heat == heat.max()).nonzero()
    middle = places.float().mean(0)
    y, x = places[(places - middle).square().sum(1).argmin()].tolist()
    return x, y
