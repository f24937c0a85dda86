"""Whether a model is still what it was, for the price of a glance: it is asked before every answer that is looked up."""

import operator
import weakref
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as hooks
from torch.nn.parameter import is_lazy

__all__ = ["Changes"]

_version = operator.attrgetter("_version")


class Changes:
    """What was written to the weights and buffers of a model, or put in their place, since the last `look`.

    torch counts the writes to a tensor, and tells of parameters, buffers and modules that are assigned to a module.
    Not seen is what goes around both: a write in place through `parameter.data`, and one to the dictionaries inside
    of a module.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._modules: set[nn.Module] = set()
        self._replaced = False
        self.look()
        # The hooks are global: they hold no model alive, and go with this.
        itself = weakref.ref(self)

        def assigned(module: nn.Module, name: str, value: object) -> None:
            watching = itself()
            if watching is not None and module in watching._modules:
                watching._replaced = True

        for register in (
            hooks.register_module_parameter_registration_hook,
            hooks.register_module_buffer_registration_hook,
            hooks.register_module_module_registration_hook,
        ):
            weakref.finalize(self, register(assigned).remove)

    def seen(self) -> bool:
        """Whether there were any."""
        return self._replaced or self._versions() != self._found

    def look(self) -> None:
        """Take the model as it is from now on."""
        self._replaced = False
        self._modules = set(self._model.modules())
        tensors = [*self._model.parameters(), *self._model.buffers()]
        # Tensors of inference mode have no version; nothing can write to them in place either.
        self._counted = [tensor for tensor in tensors if not is_lazy(tensor) and not tensor.is_inference()]
        # A lazy parameter becomes another kind of tensor in its place.
        self._lazy = [tensor for tensor in tensors if is_lazy(tensor)]
        # `parameter.data = ...` puts other memory under the same tensor.
        self._placed = [tensor for tensor in self._counted if tensor.layout == torch.strided]
        # What is taken away is not told.
        self._held = [held for m in self._modules for held in (m._parameters, m._buffers, m._modules)]
        self._found = self._versions()

    def _versions(self) -> tuple[Any, ...]:
        return (
            list(map(_version, self._counted)),
            list(map(torch.Tensor.data_ptr, self._placed)),
            [is_lazy(tensor) for tensor in self._lazy],
            sum(map(len, self._held)),
        )
