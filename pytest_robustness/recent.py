"""Tensors kept up to a number of bytes, those used last."""

import collections
import threading
from collections.abc import Hashable
from typing import Generic, TypeVar

import torch

__all__ = ["Recent"]

_K = TypeVar("_K", bound=Hashable)


class Recent(Generic[_K]):
    """The tensors that were put or asked for last, up to `limit` bytes in all; safe to share between threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._kept: collections.OrderedDict[_K, torch.Tensor] = collections.OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: _K) -> torch.Tensor | None:
        """The tensor of this key, now the last one used; None where it was never put or has been dropped."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: _K, tensor: torch.Tensor) -> None:
        """Keep it, and drop those unused for longest while there is too much; one above the limit is not kept at all."""
        with self._lock:
            replaced = self._kept.pop(key, None)
            self._bytes -= 0 if replaced is None else replaced.nbytes
            if tensor.nbytes > self._limit:
                return
            self._bytes += tensor.nbytes
            self._kept[key] = tensor
            while self._bytes > self._limit:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        """Drop all of them."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0
