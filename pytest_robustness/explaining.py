"""Why the model says what it says: explanations of clean and stressed images, how stable they are, and where they point."""

import collections
import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, get_args

import torch

from pytest_robustness.defending import Defending
from pytest_robustness.errors import InputError
from pytest_robustness.explained import Explained, Panel, Side
from pytest_robustness.explainers import Explainers, pointed_at, speaks, top_fifth
from pytest_robustness.explanation_gates import Attention, ExplanationStability, Hit, Overlap, check_some
from pytest_robustness.explanations import Explainer, Explanation
from pytest_robustness.image_sets import ImageSet, LabelledImage
from pytest_robustness.images import Kind, Reading, data_uri, heat_uri, read_image
from pytest_robustness.measuring import Chosen
from pytest_robustness.tracing import number_of
from pytest_robustness.types import Attack, Batch, Perturbation

__all__ = ["Explaining", "Region"]

Region: TypeAlias = tuple[int, int, int, int] | torch.Tensor | str | Path
"""A box (left, top, right, bottom) in pixels of what the model sees, a mask (h, w) bool, or the path of a mask image, white
inside, of the size of the image's own file."""


class Explaining(Defending):
    """The measurements of a `Robustness` that are explanations.

    They are about the model alone, also behind a defense. `by` is the explainer: `GradCAM()`, `AttentionRollout()`, `Lime()`,
    `Anchors()`; without it the first of these that the model allows.
    """

    def explain(
        self,
        image: LabelledImage | str,
        stress: Attack | Perturbation | None = None,
        strength: float = 0.0,
        *,
        by: Explainer | None = None,
        target: str | None = None,
    ) -> Explained:
        """Why the model answers as it does to an image and, with a stress, to the stressed one: `print` it, or see the report.

        Each side explains the answer that it is given, by the same superpixels and the same samples; an attack goes for the class
        `target`, without one for any that is not accepted.

        Raises InputError as `accuracy` does, for more than one image, for a target without an attack, and as the explainer does.
        """
        ids = self._ids(image)
        if len(ids) != 1:
            raise InputError(f"expected one image to explain, got {len(ids)}; ask for each")
        engine = self.engine.behind(None)
        case = engine.case(stress, strength)
        explainers = self._explainers(by)
        with engine.steady():
            clean, shown = self._shown(ids[0], stress, strength, target)
            both = Batch(
                clean.images.repeat(len(shown), 1, 1, 1), clean.accepted.repeat(len(shown), 1), clean.ids * len(shown)
            )
            logits = engine.logits(dataclasses.replace(both, images=shown))
            labels = logits.argmax(1).tolist()
            found = explainers.of(both, shown, labels)
        pictured = self._always_pictured or self._album.take(f"explanation of {ids[0]}", 1) == 1
        captions = ["clean", *([case.at] if stress is not None else [])]
        shares = logits.softmax(1)
        sides = tuple(
            _side(caption, engine.images.classes[label], float(share[label]), own, picture if pictured else None)
            for caption, label, share, own, picture in zip(captions, labels, shares, found, shown, strict=True)
        )
        explained = Explained(
            image=ids[0],
            case="" if stress is None else case.title + (f" towards {target}" if target else ""),
            method=repr(explainers.method),
            sides=sides,
            overlap=_overlap(found),
        )
        return self._measured(explained)

    def explanation_stability(
        self,
        stress: Attack | Perturbation,
        strength: float,
        *,
        by: Explainer | None = None,
        images: Chosen | None = None,
    ) -> ExplanationStability:
        """How much of the explanations of the images (all without `images`) is where it was, under a stress that leaves the answer.

        For each image whose answer is right and stays so, the intersection over union of the top fifth of its two explanations for
        that answer, corrected by what its clean one has in common with those of the other images. The others are
        left out and counted. Raises InputError as `accuracy` does, and where fewer than two images are left.
        """
        ids = self._ids(images)
        return self._measured(self._stability(ids, stress, strength, by))

    def attention(
        self,
        regions: "Mapping[LabelledImage | str, Region]",
        stress: Attack | Perturbation | None = None,
        strength: float = 0.0,
        *,
        by: Explainer | None = None,
    ) -> Attention:
        """Whether the explanation of the accepted class points into the region of each image: the pointing game.

        A region is a box, a mask or the path of a mask image, see `Region`. Explanations that must not be believed are left out and
        counted. Raises InputError as `accuracy` does, for regions that are none of the image, and where none is left.
        """
        return self._measured(self._attention(regions, stress, strength, by))

    def _explainers(self, by: Explainer | None) -> Explainers:
        """What explains the model: kept, with the superpixels that it has cut."""
        if by is not None and (isinstance(by, type) or not hasattr(by, "watches_layers")):
            name = by.__name__ if isinstance(by, type) else repr(by)
            raise InputError(f"expected an explainer such as GradCAM() or Lime(), got {name}; make an instance of one")
        if repr(by) not in self._explained_by:
            self._explained_by[repr(by)] = Explainers(self.engine, by)
        return self._explained_by[repr(by)]

    @functools.cached_property
    def _explained_by(self) -> dict[str, Explainers]:
        return {}

    def _batches(
        self, asks: Sequence[tuple[str, float]], stress: Attack | Perturbation | None
    ) -> Iterator[tuple[Batch, torch.Tensor]]:
        """Images in batches, as they are and as the stress leaves them."""
        engine = self.engine.behind(None)
        if stress is not None:
            yield from ((batch, stressed.images) for batch, stressed in engine.shown(asks, stress))
            return
        for start in range(0, len(asks), engine.batch_size):
            read = engine.images.batch([image_id for image_id, _ in asks[start : start + engine.batch_size]])
            batch = Batch(read.images.to(engine.device), read.accepted.to(engine.device), read.ids)
            yield batch, batch.images

    def _shown(
        self, image_id: str, stress: Attack | Perturbation | None, strength: float, target: str | None
    ) -> tuple[Batch, torch.Tensor]:
        """The image as a batch of one, and it with its stressed version (1 or 2, 3, h, w)."""
        engine = self.engine.behind(None)
        if stress is None:
            if target is not None:
                raise InputError(f"expected an attack that goes for {target!r}, got none; name one, such as PGD()")
            return next(self._batches([(image_id, 0.0)], None))
        ask: Any = (image_id, strength)
        if target is not None:
            self._check_attack(stress, "explain without a target")  # type: ignore[arg-type]
            ask = (image_id, strength, number_of(engine, image_id, target))
        ((clean, stressed),) = engine.shown([ask], stress)
        return clean, torch.cat([clean.images, stressed.images])

    def _stability(
        self, ids: Sequence[str], stress: Attack | Perturbation, strength: float, by: Explainer | None
    ) -> ExplanationStability:
        engine, explainers = self.engine.behind(None), self._explainers(by)
        if stress is None:
            raise InputError(
                "expected a stress that explanations may be stable under, got None; name one, as in GaussianNoise()"
            )
        case = engine.case(stress, strength)
        left_out: collections.Counter[str] = collections.Counter()
        with engine.steady():
            clean, after = (engine.evaluate(ids, own, at).outcomes for own, at in ((None, 0.0), (stress, strength)))
            kept = []
            for before, outcome in zip(clean, after, strict=True):
                if not before.correct:
                    left_out["wrong when clean"] += 1
                elif outcome.predicted != before.predicted:
                    left_out["flipped"] += 1
                else:
                    kept.append(before.image)
            maps: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
            for batch, stressed in engine.shown([(image_id, strength) for image_id in kept], stress):
                labels = engine.logits(batch).argmax(1).tolist()
                pairs = zip(
                    batch.ids,
                    explainers.of(batch, batch.images, labels),
                    explainers.of(batch, stressed.images, labels),
                    strict=True,
                )
                for image_id, first, second in pairs:
                    places = (top_fifth(first.heat.heat), top_fifth(second.heat.heat))
                    believable = first.heat.believable and second.heat.believable
                    if believable and all(bool(own.any()) for own in places):
                        maps[image_id] = places
                    else:
                        left_out["without a believable explanation"] += 1
        excluded = tuple(left_out.items())
        check_some(list(maps), excluded, needed=2)
        firsts = torch.stack([first for first, _ in maps.values()]).double()
        shared = firsts @ firsts.T
        sizes = firsts.sum(1)
        alike = shared / (sizes.unsqueeze(1) + sizes - shared)
        nulls = (alike.sum(1) - alike.diagonal()) / (len(maps) - 1)
        overlaps = tuple(
            Overlap(image_id, round(_common(*own), 6), round(null, 6))
            for (image_id, own), null in zip(maps.items(), nulls.tolist(), strict=True)
        )
        return ExplanationStability(case, repr(explainers.method), overlaps, excluded)

    def _attention(
        self,
        regions: "Mapping[LabelledImage | str, Region]",
        stress: Attack | Perturbation | None,
        strength: float,
        by: Explainer | None,
    ) -> Attention:
        if not isinstance(regions, Mapping) or not regions:
            raise InputError(
                f"expected regions by image such as {{'cat/1.png': (10, 20, 60, 80)}}, got {regions!r}; a gate over nothing would "
                "pass every model"
            )
        engine, explainers = self.engine.behind(None), self._explainers(by)
        case = engine.case(stress, strength)
        # All of them before the model is asked.
        wanted = {
            image_id: _mask(engine.images, image_id, region, engine.images.batch([image_id]).images.shape[-2:])
            for image_id, region in ((self._ids(image)[0], region) for image, region in regions.items())
        }
        hits: list[Hit] = []
        left_out: collections.Counter[str] = collections.Counter()
        asks = [(image_id, strength if stress is not None else 0.0) for image_id in wanted]
        with engine.steady():
            for batch, shown in self._batches(asks, stress):
                logits = engine.logits(batch).masked_fill(~batch.accepted, -torch.inf)
                labels = logits.argmax(1).tolist()
                found = explainers.of(batch, shown, labels)
                for image_id, label, own in zip(batch.ids, labels, found, strict=True):
                    if not speaks(own.heat):
                        left_out["without a believable explanation"] += 1
                        continue
                    name = engine.images.classes[label]
                    hits.append(_hit(image_id, name, own.heat.heat.cpu(), wanted[image_id]))
        excluded = tuple(left_out.items())
        check_some(hits, excluded)
        return Attention(case, repr(explainers.method), tuple(hits), excluded)


def _side(caption: str, label: str, share: float, found: Explanation, picture: torch.Tensor | None) -> Side:
    own = found.heat
    shown = None
    if picture is not None:
        shown = Panel(f"{label}, {caption}", data_uri(picture), heat_uri(own.heat) if speaks(own) else "", own.note)
    return Side(
        caption=caption,
        label=label,
        probability=round(share, 6),
        note=own.note,
        believable=own.believable,
        parts=found.parts,
        top_at=pointed_at(own.heat) if speaks(own) else None,
        picture=shown,
    )


def _overlap(found: Sequence[Explanation]) -> float | None:
    """What two explanations have in common; None where there are not two that may be believed."""
    if len(found) != 2 or not all(speaks(own.heat) for own in found):
        return None
    return _common(*(top_fifth(own.heat.heat) for own in found))


def _common(first: torch.Tensor, second: torch.Tensor) -> float:
    """The intersection of two sets of places over their union, 0 where both are empty."""
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 0.0


def _hit(image_id: str, label: str, heat: torch.Tensor, inside: torch.Tensor) -> Hit:
    x, y = pointed_at(heat)
    positive = heat.clamp_min(0)
    return Hit(
        image=image_id,
        label=label,
        inside=bool(inside[y, x]),
        at=(x, y),
        share=round(float(positive[inside].sum() / positive.sum().clamp_min(1e-12)), 6),
        chance=round(float(inside.float().mean()), 6),
    )


def _mask(images: ImageSet, image_id: str, region: "Region", shape: torch.Size) -> torch.Tensor:
    """(h, w) bool on the CPU; InputError, naming the image, for a region that is none of it."""
    height, width = shape
    if isinstance(region, (str, Path)):
        pixels = read_image(Path(region), Reading(frozenset(get_args(Kind))))
        native = images.native(image_id).shape
        if pixels.shape != native:
            raise InputError(
                f"{region}: expected a mask of the size of {image_id}, {native[2]} x {native[1]} pixels, got "
                f"{pixels.shape[2]} x {pixels.shape[1]}"
            )
        mask = images.fitted(pixels).mean(0) >= 0.5
    elif isinstance(region, torch.Tensor):
        mask = region.cpu()
        if mask.dtype != torch.bool or mask.shape != shape:
            raise InputError(
                f"{image_id}: expected a mask ({height}, {width}) bool, got {tuple(mask.shape)} "
                f"{str(mask.dtype).removeprefix('torch.')}"
            )
    else:
        mask = torch.zeros(height, width, dtype=torch.bool)
        left, top, right, bottom = _box(image_id, region, width, height)
        mask[top:bottom, left:right] = True
    if not mask.any() or mask.all():
        what = "nothing" if not mask.any() else "all"
        raise InputError(f"{image_id}: expected a region that is a part of the image, got {what} of it")
    return mask


def _box(image_id: str, region: object, width: int, height: int) -> tuple[int, int, int, int]:
    if isinstance(region, (tuple, list)) and len(region) == 4 and all(type(side) is int for side in region):
        left, top, right, bottom = (int(side) for side in region)
        if 0 <= left < right <= width and 0 <= top < bottom <= height:
            return left, top, right, bottom
    raise InputError(
        f"{image_id}: expected a box (left, top, right, bottom) in whole pixels within {width} x {height}, a mask or the path of one, "
        f"got {region!r}"
    )
