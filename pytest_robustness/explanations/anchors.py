"""Anchors: superpixels that hold an answer, whatever becomes of the rest of the image (Ribeiro, Singh and Guestrin 2018).

n images in a batch, h and w pixels; images are float32 RGB in [0, 1], (n, 3, h, w). A mask (K,) bool says which of the K
superpixels of an image are visible.
"""

import dataclasses
import functools
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch

from pytest_robustness.attacks.settings import check_whole
from pytest_robustness.errors import InputError
from pytest_robustness.explanations.draws import Anchor, Draws
from pytest_robustness.explanations.heat import Heat, check_asked, check_number, of_classes
from pytest_robustness.explanations.hiding import Asked, Fill, Scene, asking, check_fill
from pytest_robustness.explanations.precision import Contest, contest
from pytest_robustness.explanations.segments import Segmenter, default_segments
from pytest_robustness.seeding import Streams
from pytest_robustness.stats import lower_bound
from pytest_robustness.types import Classifier, Images, Logits, constructor_call

__all__ = ["AnchorExplanation", "Anchors"]

# About so many superpixels an image is cut into that nothing is said of.
_SUPERPIXELS = 15
# One size of anchors may use up one in so many of the draws that are left, so that there are some for longer ones.
_SIZES = 4
# Batches drawn for an anchor before it is extended: the draws in which another superpixel was visible count for both together.
_SHARED = 4


@dataclass(frozen=True, eq=False)
class AnchorExplanation:
    """What Anchors says about one image: the superpixels that hold its answer, and how surely.

    `heat` is 1 in the anchor, 0 elsewhere; `segments` (h, w) int64; `anchor` has the numbers of its superpixels, ascending.
    `precision` is the share of the fresh draws that kept the class, `lower` its exact one-sided lower bound, `coverage` the
    probability that a draw leaves the anchor visible, `draws` how many masks were answered in all. Unless `reached`, the bound
    is below the threshold, and this is the best set that was found.
    """

    heat: Heat
    segments: torch.Tensor
    anchor: tuple[int, ...]
    precision: float
    lower: float
    coverage: float
    draws: int
    reached: bool

    @property
    def parts(self) -> tuple[int, ...]:
        return self.anchor


@dataclass(frozen=True, repr=False)
class Anchors:
    """Few superpixels which, left visible, keep the answer with a precision of at least `threshold`.

    Of the anchors that a beam search finds, the one of highest coverage (equation 4 of the paper). The precision of an anchor
    is the probability that the classifier still gives the class when the anchor's superpixels are visible and each other one is
    with probability `p_sample` (equation 2 of the paper); its coverage is the probability that a draw without regard to it
    leaves it visible, p_sample ** size in closed form. No superpixel at all is an anchor too, of an image that keeps its answer
    whatever is hidden.

    A beam search (algorithm 2) extends the `beam` most precise sets of each size, found by KL-LUCB, by one superpixel. `tau`
    is its tolerance: a set may stay that is less precise than the best by so much (the paper's epsilon), and one is put
    forward where its precision was seen at `threshold` (the paper's tau) and its lower bound is not more than tau below. As
    sets of one size have one coverage, and larger ones less, the first size with an anchor has the one of highest coverage.

    Unlike the paper's, this answer does not rest on bounds from the search, which looked at many sets: what is put forward is
    drawn `confirm` times afresh, and it is reached where the exact lower bound of those draws is at least `threshold`. The
    i-th attempt has a risk of delta / (i (i + 1)), so that, with probability at least 1 - `delta`, no anchor is called reached
    whose precision is below `threshold`.

    `batch` is how many draws of one set are answered together. The classifier is asked about at most `max_draws` masks an
    image, those of the confirmation included; then, and where no set of at most `max_size` superpixels is confirmed, the
    best one found is measured afresh, and says that it was not reached.

    `fill` is what a hidden superpixel shows: its own mean colour by default, "grey", a number from 0 to 1, or one of
    `Backgrounds`, drawn for each mask. `segments` cuts images into superpixels, by default `default_segments(15)`.

    The published preset is a threshold of 0.95, p_sample of 0.5, tau of 0.25 and Slic(15). Raises InputError for settings that
    mean nothing.
    """

    threshold: float = 0.95
    p_sample: float = 0.5
    tau: float = 0.25
    delta: float = 0.1
    beam: int = 2
    batch: int = 64
    confirm: int = 300
    max_draws: int = 4000
    max_size: int | None = None
    segments: Segmenter | None = None
    fill: Fill = "mean"

    watches_layers: ClassVar[bool] = False
    __repr__ = constructor_call

    def __post_init__(self) -> None:
        check_fill(self, self.fill)
        for name in ("threshold", "p_sample", "tau", "delta"):
            check_number(self, name, "between 0 and 1", lambda value: 0 < value < 1)
        for name in ("beam", "batch", "confirm", "max_draws"):
            check_whole(self, name, least=1)
        if self.max_size is not None:
            check_whole(self, "max_size", least=0)
        if _spared(self.confirm, self.threshold, _confidence(self.delta, 1)) < 0:
            enough = math.ceil(math.log(1 - _confidence(self.delta, 1)) / math.log(self.threshold))
            raise InputError(
                f"{self!r}: expected confirm >= {enough}, or no draws could show a precision of {self.threshold}, "
                f"got {self.confirm}"
            )
        if self.max_draws < 2 * self.confirm:
            raise InputError(
                f"{self!r}: expected max_draws to be a whole number >= {2 * self.confirm}, twice confirm, "
                f"got {self.max_draws}"
            )

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
    ) -> tuple[AnchorExplanation, ...]:
        """An anchor per image; all images are searched together, so that the classifier is shown full batches.

        Each gets the anchor it would get alone. With `segments` (n, h, w) the images are cut as they say: those of a clean
        image and the same streams explain the stressed one by draws from the same numbers.

        Raises InputError for segments that are none of these images, and for classes that the logits don't have.
        """
        check_asked(self, images, classes, streams)
        if not len(images):
            return ()
        settings = dataclasses.replace(self, segments=self.segmenter) if segments is None else self
        segments = self.segmenter(images) if segments is None else segments
        scene = Scene.of(self, images, segments, self.fill)
        searches = [
            _Search(self, superpixels, streams.select([row])).run() for row, superpixels in enumerate(scene.superpixels)
        ]
        asked = {row: next(search) for row, search in enumerate(searches)}
        found: dict[int, _Found] = {}
        with asking(classifier):
            while asked:
                answers = scene.answers(classifier, classes, asked, self._kept)
                for row, hits in zip(list(asked), answers, strict=True):
                    try:
                        asked[row] = searches[row].send(hits)
                    except StopIteration as end:
                        found[row] = end.value
                        del asked[row]
        return tuple(settings._explanation(scene.segments[row], found[row]) for row in range(len(images)))

    def _kept(self, logits: Logits, classes: torch.Tensor) -> torch.Tensor:
        """(n,) bool: whether the logits (n, k) still give the classes (n,)."""
        of_classes(self, logits, classes)
        return logits.argmax(1) == classes.to(logits.device)

    def _explanation(self, segments: torch.Tensor, found: "_Found") -> AnchorExplanation:
        members = torch.tensor(found.anchor, dtype=segments.dtype, device=segments.device)
        reached, coverage = found.lower >= self.threshold, self.p_sample ** len(found.anchor)
        # Down, so that no more is claimed than was shown.
        lower = math.floor(found.lower * 100 + 1e-9) / 100
        figures = (
            f"precision {found.precision:.2f} (at least {lower:.2f}), coverage {coverage:.2g}, {found.draws} draws"
        )
        if not reached:
            figures = f"not reached: {figures}, for a threshold of {self.threshold:g}"
        elif not found.anchor:
            figures = f"no superpixel is needed: {figures}"
        heat = Heat(torch.isin(segments, members).float(), repr(self), figures, believable=reached)
        return AnchorExplanation(
            heat, segments, found.anchor, found.precision, found.lower, coverage, found.draws, reached
        )


class _Found(NamedTuple):
    anchor: Anchor
    precision: float
    lower: float
    draws: int


class _Search:
    """The search of one image: what has been drawn, and what may still be."""

    def __init__(self, settings: Anchors, superpixels: int, streams: Streams) -> None:
        self.settings, self.superpixels = settings, superpixels
        self.drawn = Draws(settings.p_sample, superpixels, streams)
        self.attempts = 0
        self.best: tuple[float, Anchor] = (-1.0, ())

    @property
    def left(self) -> int:
        """Draws; a confirmation of what is returned in the end is kept back."""
        return self.settings.max_draws - self.settings.confirm - self.drawn.used

    def run(self) -> Generator[Asked, torch.Tensor, _Found]:
        settings = self.settings
        largest = min(self.superpixels if settings.max_size is None else settings.max_size, self.superpixels)
        kept: list[Anchor] = [()]
        for size in range(largest + 1):
            candidates = _extended(kept, self.superpixels) if size else kept
            kept, found = yield from self._of_one_size(kept, candidates)
            if found is not None:
                return found
            if self.left < 2 * settings.batch:
                break
        return (yield from self._measured(self.best[1]))

    def _of_one_size(
        self, kept: list[Anchor], candidates: list[Anchor]
    ) -> Generator[Asked, torch.Tensor, tuple[list[Anchor], _Found | None]]:
        """The candidates to extend, and the anchor, if there is one among them; `kept` are those that they extend.

        Whichever of the best is put forward first ends the contest where it is confirmed: no other can have more coverage.
        """
        settings, drawn = self.settings, self.drawn
        enough = drawn.used + self.left // _SIZES
        yield from self._shared(kept, enough)
        tried: set[int] = set()
        while True:
            standing = contest(*drawn.tally(candidates), most=settings.beam, delta=settings.delta)
            untried = [place for place in standing.best if place not in tried]
            forward = [place for place in untried if self._put_forward(standing, place)]
            undecided = [place for place in untried if self._undecided(standing, place)]
            if forward:
                tried.add(forward[0])
                found = yield from self._confirmed(candidates[forward[0]])
                if found is not None:
                    return [], found
                continue
            if standing.gap > settings.tau and drawn.used + 2 * settings.batch <= enough:
                drawing: Sequence[int] = standing.contested
            elif undecided and self.left >= len(undecided) * settings.batch:
                drawing = undecided
            else:
                break
            yield from drawn.draw([candidates[place] for place in drawing], settings.batch)
        scored = [(float(standing.lower[place]), candidates[place]) for place in standing.best]
        self.best = max([self.best, *scored], key=lambda pair: pair[0])
        return [anchor for _, anchor in scored], None

    def _shared(self, kept: list[Anchor], enough: int) -> Generator[Asked, torch.Tensor, None]:
        """Draws for what is extended, which count for each of its extensions that happens to be visible."""
        for anchor, count in zip(kept, self.drawn.tally(kept)[1].tolist(), strict=True):
            lacking = min(_SHARED * self.settings.batch - int(count), enough - self.drawn.used)
            if lacking > 0:
                yield from self.drawn.draw([anchor], lacking)

    def _put_forward(self, standing: Contest, place: int) -> bool:
        settings = self.settings
        enough = standing.lower[place] >= settings.threshold - settings.tau
        return bool(enough and standing.means[place] >= settings.threshold)

    def _undecided(self, standing: Contest, place: int) -> bool:
        """Whether more draws are needed to tell that it is put forward, or is not."""
        settings = self.settings
        if standing.means[place] >= settings.threshold:
            return not self._put_forward(standing, place)
        return bool(standing.upper[place] >= min(settings.threshold + settings.tau, 1.0))

    def _confirmed(self, anchor: Anchor) -> Generator[Asked, torch.Tensor, _Found | None]:
        """What fresh draws say of it; None as soon as they can't show the threshold any more, if there are draws for others."""
        if self.left < self.settings.confirm:
            return (yield from self._measured(anchor))
        confidence = self._next_confidence()
        spared = _spared(self.settings.confirm, self.settings.threshold, confidence)
        hits = yield from self._fresh_hits(anchor, spared)
        return self._found(anchor, hits, confidence) if self.settings.confirm - hits <= spared else None

    def _measured(self, anchor: Anchor) -> Generator[Asked, torch.Tensor, _Found]:
        """What fresh draws say of it, whatever they say."""
        confidence = self._next_confidence()
        hits = yield from self._fresh_hits(anchor, self.settings.confirm)
        return self._found(anchor, hits, confidence)

    def _next_confidence(self) -> float:
        self.attempts += 1
        return _confidence(self.settings.delta, self.attempts)

    def _fresh_hits(self, anchor: Anchor, spared: int) -> Generator[Asked, torch.Tensor, int]:
        """How many of `confirm` fresh draws keep the class; fewer are made where more than `spared` of them don't."""
        hits = count = 0
        while count < self.settings.confirm and count - hits <= spared:
            each = min(2 * self.settings.batch, self.settings.confirm - count)
            hits += int((yield from self.drawn.draw([anchor], each)).sum())
            count += each
        return hits

    def _found(self, anchor: Anchor, hits: int, confidence: float) -> _Found:
        n = self.settings.confirm
        return _Found(anchor, hits / n, lower_bound(hits, n, confidence=confidence), self.drawn.used)


def _extended(kept: Sequence[Anchor], superpixels: int) -> list[Anchor]:
    """Each of them with each superpixel that it lacks, every set once."""
    return sorted(
        {tuple(sorted((*anchor, other))) for anchor in kept for other in range(superpixels) if other not in anchor}
    )


def _confidence(delta: float, attempt: int) -> float:
    """That of the i-th attempt at a confirmation, from 1: all the risks together are delta."""
    return 1 - delta / (attempt * (attempt + 1))


@functools.lru_cache(maxsize=4096)
def _spared(n: int, threshold: float, confidence: float) -> int:
    """How many of n draws may miss before their lower bound is below the threshold; -1 where even none is too many."""
    misses = 0
    while misses <= n and lower_bound(n - misses, n, confidence=confidence) >= threshold:
        misses += 1
    return misses - 1
