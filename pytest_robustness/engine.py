"""The bridge: images in batches through a stress and a model on a device, answers out as plain numbers.

The only module that knows both halves. Whatever a stress returns is projected to its ball, clamped to
[0, 1] here; the verdict rests on what the model says to exactly those pixels, which an attack never tells.
"""

import collections
import contextlib
import copy
import functools
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import torch

from pytest_robustness.answers import Answering
from pytest_robustness.cache import OutcomeStore
from pytest_robustness.cases import case_of
from pytest_robustness.devices import Stage, Staged, device_name, fitting_batch_size, resolve_device
from pytest_robustness.errors import InputError
from pytest_robustness.explanations.heat import Explainer, Explanation
from pytest_robustness.image_sets import ImageSet
from pytest_robustness.memory import Ask, Keys, Memory, Question, Targeted
from pytest_robustness.pairs import check_targets
from pytest_robustness.provenance import provenance
from pytest_robustness.recent import Recent
from pytest_robustness.records import Case, Evaluation, Outcome, Provenance
from pytest_robustness.running import LEAST_BATCH, Precision, RunningModel
from pytest_robustness.settling import Settling
from pytest_robustness.stressing import Stressing
from pytest_robustness.types import Attack, Batch, Defense, Images, Logits, Perturbation, fits

__all__ = ["Engine"]

# An attack's batch shrinks as images fall: with so many at hand, the model is shown full ones for longer.
_ATTACKED_AT_ONCE = 4
# Each holds its model: those of a test after the other must not fill the memory.
_BESIDE = 8
_TOLD = 5
_SUPERPIXEL_BYTES = 64 * 2**20


class Engine:
    """One model on one device, asked about one image set; answers are kept, so asking twice costs once.

    `model` maps RGB in [0, 1], (n, 3, h, w), to logits (n, k); it is moved to `device` and otherwise left
    as found. `device` is "auto" (CUDA, else MPS, else the CPU) or a torch device. `batch_size` "auto" fits
    the images' size and, on CUDA, the memory; a batch that runs out of memory is halved, and so are those after it.
    `precision`, `compiled` and `deterministic` are those of `RunningModel`; `workers` threads decode images ahead (None: 1 on a CPU,
    up to 8 elsewhere). `store` holds outcomes of other runs and processes; `run` names this run where it is
    shared. `progress(done, total, "images")` is called after every batch, or with "pairs" of an image and a target; `computed`
    counts both, without what was known already. `defense` is what stands in front of the model, None in an engine of the model
    alone: see `behind`.

    `superpixels` keeps those of clean images, (h, w), by id and segmenter: up to 64 MB.

    Raises InputError for a model that can't be called, a device that isn't there or a batch size < 1.
    """

    def __init__(
        self,
        model: Callable[[Images], Logits],
        images: ImageSet,
        *,
        device: str = "auto",
        seed: int = 0,
        batch_size: int | Literal["auto"] = "auto",
        precision: Precision = "float32",
        compiled: bool = False,
        deterministic: bool = False,
        workers: int | None = None,
        store: OutcomeStore | None = None,
        run: str = "",
        progress: Callable[[int, int, str], None] | None = None,
    ) -> None:
        self.device = resolve_device(device)
        self.images = images
        self.seed = seed
        if batch_size != "auto" and batch_size < 1:
            raise InputError(f"expected a batch size >= 1 or 'auto', got {batch_size}")
        self._running = RunningModel(
            model,
            len(images.classes),
            device=self.device,
            precision=precision,
            compiled=compiled,
            deterministic=deterministic,
        )
        self._running.most = None if batch_size == "auto" else batch_size
        self.defense: Defense | None = None
        self.superpixels: Recent[tuple[str, str]] = Recent(_SUPERPIXEL_BYTES)
        self._provenance: tuple[int, Provenance] | None = None
        self._workers = workers or (1 if self.device.type == "cpu" else min(8, os.cpu_count() or 1))
        self._run = run
        self._alike = functools.partial(
            Engine,
            images=images,
            device=device,
            seed=seed,
            batch_size=batch_size,
            precision=precision,
            compiled=compiled,
            deterministic=deterministic,
            workers=workers,
            store=store,
            run=run,
            progress=progress,
        )
        self.computed: collections.Counter[str] = collections.Counter()
        self._beside: dict[int, Engine] = {}
        self._steady = False
        self._memory = Memory(store)
        self._progress = progress
        self._stage = Stage(self.device)
        self._stressing = Stressing(self._running, images, seed)
        self._answering = Answering(
            self._running,
            images,
            self._memory,
            self._stressing,
            clean=lambda ids, defense: self.behind(defense).evaluate(ids).outcomes,
            at_a_time=lambda: self.batch_size,
        )

        self._settling = Settling(self._running, self._memory, self._answering)

    @property
    def model(self) -> Callable[[Images], Logits]:
        """The model as it was given."""
        return self._running.model

    def beside(self, model: Callable[[Images], Logits]) -> "Engine":
        """The engine of another model that is the same in all else. The last eight are kept, with what they were asked."""
        if model is self.model:
            return self
        if id(model) not in self._beside:
            while len(self._beside) >= _BESIDE:
                del self._beside[next(iter(self._beside))]
            self._beside[id(model)] = self._alike(model)
        return self._beside[id(model)].behind(self.defense)

    def behind(self, defense: Defense | None) -> "Engine":
        """The engine of the same model behind this defense, None for none, in place of its own; what one knows the other does.

        Every question that can be put to a model can be put to it: images are wrong where the defense is wrong or
        abstains, and an attack goes through it. Raises InputError for what is no defense.
        """
        if defense is self.defense:
            return self
        case_of(None, 0.0, defense)
        defended = copy.copy(self)
        defended.defense, defended._provenance = defense, None
        return defended

    @property
    def batch_size(self) -> int:
        """The most images of a batch; "auto" is settled when it is first asked for."""
        if self._running.most is None:
            probe = self.images.probe(LEAST_BATCH)
            self._running.most = fitting_batch_size(self._running, None if probe is None else probe.to(self.device))
        return self._running.most

    def chunk_size(self, stress: Attack | Perturbation | Targeted | None = None) -> int:
        """So many images evaluated together keep the batches full."""
        attacked = isinstance(stress, Targeted) or fits(stress, Attack)
        return (_ATTACKED_AT_ONCE if attacked else 1) * self.batch_size

    def case(self, stress: Attack | Perturbation | None = None, strength: float = 0.0) -> Case:
        """The case in plain words; InputError where the strength is not one of the stress."""
        return case_of(stress, strength, self.defense)

    def evaluate(
        self, ids: Sequence[str], stress: Attack | Perturbation | None = None, strength: float = 0.0
    ) -> Evaluation:
        """The outcomes of these images in one case; only what was not asked before is computed, in batches.

        Strength 0 is the clean image, whatever the stress. An attack is spared an image that is wrong when
        clean: the attacker needs no change there, so it counts as wrong. Outcomes are kept batch by batch:
        what was computed before an error stays, and an image that can't be evaluated fails alone.

        Raises InputError for a strength outside the stress's range, images that can't be read, and models
        or stresses that return something else than they should.
        """
        case = self.case(stress, strength)
        asks = [(image_id, float(strength)) for image_id in ids]
        return Evaluation(case, self._told((stress if strength else None, self.defense), asks))

    def targeted(self, pairs: Sequence[tuple[str, int]], attack: Attack, epsilon: float) -> tuple[Outcome, ...]:
        """What became of each image that was attacked towards a class, for pairs of an id and the number of the target.

        The target is reached where it is what is `predicted`. Pairs share batches, across images and targets; otherwise all is
        as with `evaluate`: an image that is wrong when clean is not attacked, and its outcome is the clean one. A pair
        fares the same in whatever company.

        Raises InputError as `evaluate` does, for what is no attack, and for a target that is no class or is accepted.
        """
        self.case(attack, epsilon)
        if not fits(attack, Attack):
            raise InputError(f"expected an attack, which can go for a target, got {attack!r}; use one such as PGD()")
        check_targets(self.images, pairs)
        with self.steady():
            clean = {
                outcome.image: outcome for outcome in self.evaluate(list(dict.fromkeys(i for i, _ in pairs))).outcomes
            }
            asks = [(image, float(epsilon), target) for image, target in pairs if epsilon and clean[image].correct]
            found = dict(zip(asks, self._told((Targeted(attack), self.defense), asks), strict=True))
        return tuple(found.get((image, float(epsilon), target), clean[image]) for image, target in pairs)

    def _told(self, question: Question, asks: Sequence[Ask]) -> tuple[Outcome, ...]:
        """The outcomes of these asks; InputError with the first five reasons where some can't be answered."""
        self._answer(question, asks)
        known = self._memory.known(question)
        outcomes, errors = [], []
        for answer in (known[ask] for ask in asks):
            if isinstance(answer, Outcome):
                outcomes.append(answer)
            else:
                errors.append(answer)
        if errors:
            # Images of one cause are told once.
            told = list(dict.fromkeys(map(str, errors)))[:_TOLD]
            if len(errors) > 1:
                told.append(f"{len(errors)} of these {len(asks)} {_asked(question)} can't be evaluated")
            raise InputError("\n".join(told))
        return tuple(outcomes)

    def prefetch(self, asks: Iterable[tuple[str, float]], stress: Attack | Perturbation) -> None:
        """Answer ahead for images, each at its strength; they share batches, and an image is decoded once for all its
        strengths in a batch.

        Raises InputError as `evaluate` does, but for images that can't be evaluated: that is told when they are asked for.
        """
        asks = [(image_id, float(strength)) for image_id, strength in asks]
        for strength in {strength for _, strength in asks}:
            self.case(stress, strength)
        self._answer((stress, self.defense), [ask for ask in asks if ask[1]])

    def recall(self, stress: Attack | Perturbation) -> Callable[[Sequence[str], float], Sequence[Outcome] | None]:
        """What `evaluate` would say of images at a strength, where it has said it of all of them already; None elsewhere.

        As a function, for a caller who asks at many strengths and lets nothing happen to the model meanwhile.
        """
        self._refresh()
        return self._memory.recall(stress, self.defense)

    def shown(self, asks: Sequence[Ask], stress: Attack | Perturbation) -> Iterator[tuple[Batch, Batch]]:
        """Images, each at its strength, in batches: as they are, and as the stress leaves them; an attack on asks with a
        target goes for that.

        Made anew, as pixels are never kept. Raises InputError as `evaluate` does.
        """
        for strength in {ask[1] for ask in asks}:
            self.case(stress, strength)
        for start in range(0, len(asks), self.batch_size):
            part = asks[start : start + self.batch_size]
            read = self.images.batch([ask[0] for ask in part])
            batch = Batch(read.images.to(self.device), read.accepted.to(self.device), read.ids)
            strengths = torch.tensor([ask[1] for ask in part], device=self.device)
            with self._running.running(), torch.no_grad():
                aim = self._answering.aim(part, batch)
                stressed = self._answering.stressed(batch, stress, strengths, aim, self.defense)
            yield batch, replace(batch, images=stressed)

    def logits(self, batch: Batch) -> Logits:
        """What the model alone says to a batch; `evaluate` keeps answers, this does not."""
        with self._running.running(), torch.no_grad():
            return self._answering.logits(batch)

    def probabilities(self, batch: Batch) -> torch.Tensor:
        """(n, k) what is said to a batch of each class: the softmax of the logits, behind a defense the share of its views."""
        with self._running.running(), torch.no_grad():
            return self._answering.probabilities(batch, self.defense)

    def log_odds(self, batch: Batch) -> torch.Tensor:
        """(n,) the log-odds of an answer to a batch that is not accepted; behind a defense their mean over its views."""
        with self._running.running():
            return self._stressing.log_odds(batch, self.batch_size, self.defense)

    def explained(
        self, explainer: Explainer, batch: Batch, classes: torch.Tensor, *, segments: torch.Tensor | None = None
    ) -> Sequence[Explanation]:
        """Why the model alone says this class, (n,) int64, of each image of a batch; InputError as the explainer raises it.

        `segments` (n, h, w) are superpixels to explain by, where it has any.
        """
        with self._running.as_given() if explainer.watches_layers else self._running.running():
            return self._stressing.explained(explainer, batch, classes, segments, self.batch_size)

    def gradients(self, batch: Batch) -> Images:
        """How what an attack climbs lies at these images, (n, c, h, w): NaN and infinity are not refused.

        Raises InputError where the model's answers have no gradient.
        """
        with self._running.running():
            return self._stressing.gradients(batch, self.batch_size, self.defense)

    @property
    def provenance(self) -> Provenance:
        """What the numbers are measured on: another object where the model is another one."""
        if self._provenance is None or self._provenance[0] != self._running.changes:
            self._ready()
            found = provenance(self._running, self.images, device_name(self.device), self.seed)
            self._provenance = self._running.changes, found
        return self._provenance[1]

    def _answer(self, question: Question, asks: Collection[Ask]) -> None:
        """Find or compute what is not known yet, chunk by chunk, and keep each chunk as soon as it is there."""
        self._refresh()
        known = self._memory.known(question)
        if all(ask in known for ask in asks):
            return
        self._ready()
        missing = self._memory.missing(question, asks)
        total = len(missing)
        while missing:
            before = len(missing)
            self._compute(question, missing, total)
            missing = self._memory.missing(question, missing)
            if len(missing) == before:
                # Other processes are at all of them.
                self._memory.wait()

    @contextlib.contextmanager
    def steady(self) -> Iterator[None]:
        """Within it the model is taken to stay what it is: it is looked at once, and not with every question."""
        if self._steady:
            yield
            return
        self._refresh()
        self._steady = True
        try:
            yield
        finally:
            self._steady = False

    def _refresh(self) -> None:
        """Forget what was answered where the model is another one now."""
        if not self._steady and self._running.changed():
            self._memory.forget()
            self._stressing.forget()

    def _ready(self) -> None:
        """Choose how to run the model, and name the answers on disk, by what it says to the first images of the set."""
        if self._running.prepared and not self._memory.needs_keys:
            return
        probe = self.images.probe(LEAST_BATCH)
        if probe is None:
            # Nothing can be decoded: that is told image by image.
            return
        probe = probe.to(self.device)
        shape = tuple(probe.shape[1:])
        fresh = not self._running.prepared
        self._running.prepare(probe)
        if self._memory.needs_keys:
            setting = (self._running.signature(shape), self._running.precision, self._running.how)
            where = (device_name(self.device), self.seed, self.images.classes)
            self._memory.name_by(Keys(self.model, (setting, where), self.images.digest_of, run=self._run))
        if fresh:
            self._running.fill_batches(shape, self.batch_size)

    def _compute(self, question: Question, missing: Sequence[Ask], total: int) -> None:
        """Answer those of the missing asks that no other process is at."""
        done, nested = total - len(missing), self._running.active
        given_out: collections.deque[Sequence[Ask]] = collections.deque()

        def chunks() -> Iterator[list[str]]:
            for chunk in claims:
                given_out.append(chunk)
                yield [ask[0] for ask in chunk]

        with (
            self._running.running(),
            self._memory.chunks(question, missing, lambda: self.chunk_size(question[0])) as claims,
            contextlib.closing(self.images.streamed(chunks(), self._stage, workers=self._workers)) as stream,
        ):
            for staged in stream:
                asks = given_out.popleft()
                self._memory.keep(question, {ask: staged.errors[ask[0]] for ask in asks if ask[0] in staged.errors})
                readable = [ask for ask in asks if ask[0] in staged.rows]
                failure = self._settling.settle(question, readable, self._batch(readable, staged)) if readable else None
                if failure is not None and len(readable) > 1:
                    # No image is at fault where all of them fail: the next one to ask meets the same.
                    self._memory.drop(question, readable)
                    raise failure
                done += len(asks)
                self.computed[_asked(question)] += len(asks)
                if self._progress is not None and not nested:
                    self._progress(done, total, _asked(question))

    def _batch(self, asks: Sequence[Ask], staged: Staged) -> Batch:
        """A row per ask: an image that is asked about at several strengths has several."""
        ids = tuple(ask[0] for ask in asks)
        return Batch(staged.images(ids), self.images.accepted_mask(ids).to(self.device), ids)


def _asked(question: Question) -> str:
    return "pairs" if isinstance(question[0], Targeted) else "images"
