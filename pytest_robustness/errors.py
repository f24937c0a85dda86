"""The one error that stands for input the tool refuses."""

__all__ = ["InputError"]


class InputError(ValueError):
    """What the user gave can't be used; the message says expected, got, where, and what to do."""
