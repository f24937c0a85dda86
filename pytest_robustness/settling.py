"""Batches whose answers are kept, in halves where memory does not suffice or an image spoils them."""

from collections.abc import Sequence

import torch

from pytest_robustness.answers import Answering
from pytest_robustness.errors import InputError
from pytest_robustness.memory import Ask, Memory, Question
from pytest_robustness.running import LEAST_BATCH, RunningModel, out_of_memory
from pytest_robustness.types import Batch

__all__ = ["Settling"]


class _TooLarge(InputError):
    """A batch for which the memory did not suffice; fewer images may fit."""


class Settling:
    """Answers batches and keeps what is said; a batch that was too large makes those after it smaller."""

    def __init__(self, running: RunningModel, memory: Memory, answering: Answering) -> None:
        self._running = running
        self._memory = memory
        self._answering = answering

    def settle(self, question: Question, asks: Sequence[Ask], batch: Batch) -> InputError | None:
        """Keep the answers of a batch: in halves where memory does not suffice or an image spoils it, which then fails alone.

        What went wrong with the whole of it, where every one of the images failed.
        """
        failure = self._failure(question, asks, batch)
        if failure is None:
            return None
        if len(asks) == 1:
            self._memory.keep(question, {asks[0]: failure})
            return failure
        half = len(asks) // 2
        if isinstance(failure, _TooLarge):
            self._running.most = max(1, min(self._running.most or len(asks), len(asks)) // 2)
            self._running.least = max(LEAST_BATCH, min(self._running.least, self._running.most))
            if self._running.device.type == "cuda":
                torch.cuda.empty_cache()
        first, second = (
            self.settle(question, asks[part], Batch(batch.images[part], batch.accepted[part], batch.ids[part]))
            for part in (slice(None, half), slice(half, None))
        )
        if first is None or second is None:
            return None
        return first if isinstance(failure, _TooLarge) else failure

    def _failure(self, question: Question, asks: Sequence[Ask], batch: Batch) -> InputError | None:
        """Keep the answers of a batch, or say what went wrong.

        As a new error: the one that was raised holds on to the tensors of the batch by its traceback.
        """
        try:
            self._memory.keep(question, dict(zip(asks, self._answering.outcomes(question, asks, batch), strict=True)))
        except InputError as error:
            return InputError(str(error))
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            return _TooLarge(
                f"out of memory on {self._running.device} with a batch of {max(len(asks), self._running.least)} images of shape "
                f"{tuple(batch.images.shape[1:])}; use smaller images or another device"
            )
        return None
