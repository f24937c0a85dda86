"""What has been answered: in this process, in earlier runs, and by the other workers of this run.

An answer is a pure function of the model, the stress, the strength, the image, the seed and the numerics. All of
them are in its key on disk, so that a change in any of them never meets an answer from before.
"""

import contextlib
import hashlib
import platform
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch

from pytest_robustness.cache import OutcomeStore
from pytest_robustness.errors import InputError
from pytest_robustness.fingerprint import Unknown, code_digest, digest
from pytest_robustness.records import Outcome
from pytest_robustness.types import Attack, Defense, Perturbation

__all__ = ["Ask", "Keys", "Memory", "Question", "Targeted"]


@dataclass(frozen=True)
class Targeted:
    """An attack that goes for a class of its own with every ask, instead of any other class than the accepted ones."""

    attack: Attack


Ask: TypeAlias = tuple[str, float] | tuple[str, float, int]
"""An image's id and a strength; of a targeted attack, the target's number too."""
Question: TypeAlias = tuple[Attack | Perturbation | Targeted | None, Defense | None]
"""What images are asked about at a strength: a stress and a defense. Clean images are at strength 0 of no stress."""

_WAIT_SECONDS = 0.01
# So many asks are offered to the store at a time, in batches: one claim must not look through 50,000.
_WINDOW = 16


class Keys:
    """The names of answers on disk, for one model on one device over one image set with one seed.

    `setting` is everything that they have in common. What has no digest (a plain function as the model, a stress
    that holds an open file) is named within `run` only, and not at all outside of one. `image_digest` gives the
    digest of an image with its labels and preprocessing.
    """

    def __init__(self, model: object, setting: object, image_digest: Callable[[str], str], *, run: str) -> None:
        self._image_digest = image_digest
        self._run = run
        self._prefixes: dict[Question, str | None] = {}
        numerics = (torch.__version__, torch.get_num_threads(), torch.backends.cpu.get_cpu_capability())
        common = repr((setting, numerics, platform.python_version(), code_digest([Memory])))
        self._lasting = _digest_or_none(model)
        self._common = hashlib.sha256(f"{common} {self._lasting}".encode()).hexdigest()

    def of(self, question: Question, ask: Ask) -> str | None:
        """The key of an answer; None where it can't have one."""
        if question not in self._prefixes:
            self._prefixes[question] = self._prefix(question)
        prefix = self._prefixes[question]
        if prefix is None:
            return None
        scope, _, rest = prefix.rpartition("/")
        how = " ".join(map(repr, ask[1:]))
        named = hashlib.sha256(f"{rest} {how} {self._image_digest(ask[0])}".encode()).hexdigest()
        return f"{scope}/{named}" if scope else named

    def _prefix(self, question: Question) -> str | None:
        asked = _digest_or_none(question)
        lasting = self._lasting is not None and asked is not None
        if not lasting and not self._run:
            return None
        named = hashlib.sha256(f"{self._common} {question!r} {asked}".encode()).hexdigest()
        return named if lasting else f"run-{self._run}/{named}"


class Memory:
    """The answers of one engine: those it knows, and those that a store on disk has or other processes are at."""

    def __init__(self, store: OutcomeStore | None = None) -> None:
        self._store = store
        self._keys: Keys | None = None
        self._known: dict[Question, dict[Ask, Outcome | InputError]] = {}

    @property
    def needs_keys(self) -> bool:
        """Whether there is a store whose answers can't be found before `name_by`."""
        return self._store is not None and self._keys is None

    def name_by(self, keys: Keys) -> None:
        """The names under which the store has the answers."""
        self._keys = keys

    def known(self, question: Question) -> Mapping[Ask, Outcome | InputError]:
        """What this process knows: outcomes, and for an image that can't be evaluated the reason."""
        return self._known.setdefault(question, {})

    def forget(self) -> None:
        """Everything that this process knows, because the model is another one now."""
        self._known.clear()
        self._keys = None

    def missing(self, question: Question, asks: Collection[Ask]) -> list[Ask]:
        """The asks without an answer, each once, after a look into the store."""
        known = self._known.setdefault(question, {})
        missing = [ask for ask in dict.fromkeys(asks) if ask not in known]
        if missing and self._store is not None:
            named = self._named(question, missing)
            found = self._store.get(named)
            known.update((named[key], outcome) for key, outcome in found.items())
            missing = [ask for ask in missing if ask not in known]
        return missing

    def recall(
        self, stress: Attack | Perturbation, defense: Defense | None
    ) -> Callable[[Sequence[str], float], Sequence[Outcome] | None]:
        """`Engine.recall` of what this process knows."""
        clean, stressed = (self.known((asked, defense)) for asked in (None, stress))

        def recalled(ids: Sequence[str], strength: float) -> Sequence[Outcome] | None:
            known = stressed if strength else clean
            answers = [known.get((image_id, strength)) for image_id in ids]
            outcomes = [answer for answer in answers if isinstance(answer, Outcome)]
            return outcomes if len(outcomes) == len(ids) else None

        return recalled

    def not_known_wrong(self, ids: Sequence[str], defense: Defense | None) -> list[int]:
        """The rows of the images that are right when clean, or may be, after a look into the store."""
        asks: list[Ask] = [(image_id, 0.0) for image_id in ids]
        self.missing((None, defense), asks)
        known = self.known((None, defense))
        answers = [known.get(ask) for ask in asks]
        return [row for row, a in enumerate(answers) if a is None or (isinstance(a, Outcome) and a.correct)]

    @contextlib.contextmanager
    def chunks(
        self, question: Question, asks: Sequence[Ask], size: Callable[[], int]
    ) -> Iterator[Iterator[Sequence[Ask]]]:
        """The asks in chunks of at most `size()`; of a shared store only those that no other process is at.

        A chunk is claimed when it is given out, and what was not answered is given up at the end, not before: the last
        chunk given out may still be waiting for its turn.
        """
        if self._store is None or not self._store.shared:
            yield _cut(asks, size)
            return
        claimed: list[Ask] = []
        try:
            yield self._claimed(question, asks, size, claimed)
        finally:
            known = self._known[question]
            unanswered = [ask for ask in claimed if not isinstance(known.get(ask), Outcome)]
            self._store.release(self._named(question, unanswered))

    def _claimed(
        self, question: Question, asks: Sequence[Ask], size: Callable[[], int], claimed: list[Ask]
    ) -> Iterator[Sequence[Ask]]:
        assert self._store is not None
        waiting = list(asks)
        while waiting:
            n = size()
            window = waiting[: n * _WINDOW]
            named = self._named(question, window)
            unnamed = [] if len(named) == len(window) else [ask for ask in window if ask not in set(named.values())]
            mine = (unnamed or [named[key] for key in self._store.claim(list(named), n)])[:n]
            taken = set(mine) or set(window)
            waiting = [ask for ask in waiting if ask not in taken]
            if mine:
                claimed.extend(mine)
                yield mine

    def keep(self, question: Question, answers: Mapping[Ask, Outcome | InputError]) -> None:
        """Know these answers; outcomes are stored, errors are not: their cause may be gone the next time."""
        self._known.setdefault(question, {}).update(answers)
        if self._store is not None:
            named = self._named(question, [ask for ask, answer in answers.items() if isinstance(answer, Outcome)])
            found = ((key, answers[ask]) for key, ask in named.items())
            self._store.put({key: outcome for key, outcome in found if isinstance(outcome, Outcome)})

    def drop(self, question: Question, asks: Collection[Ask]) -> None:
        """Know nothing about these asks any more."""
        for ask in asks:
            self._known[question].pop(ask, None)

    def wait(self) -> None:
        """A moment, for another process to finish what it is at."""
        time.sleep(_WAIT_SECONDS)

    def _named(self, question: Question, asks: Sequence[Ask]) -> dict[str, Ask]:
        if self._keys is None:
            return {}
        keys = self._keys
        return {key: ask for ask in asks if (key := keys.of(question, ask)) is not None}


def _cut(asks: Sequence[Ask], size: Callable[[], int]) -> Iterator[Sequence[Ask]]:
    start = 0
    while start < len(asks):
        chunk = asks[start : start + size()]
        start += len(chunk)
        yield chunk


def _digest_or_none(value: object) -> str | None:
    try:
        return digest(value)
    except Unknown:
        return None
