"""The families of foreign attacks: how they are told apart, checked and run.

Images are float32 RGB in [0, 1], (n, c, h, w); epsilon is the radius of the ball, in the same units. A library is imported
where an attack of it is run, and nowhere else.
"""

import contextlib
import functools
import inspect
import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, get_args

import torch
import torch.nn.functional as F
from torch import nn

from pytest_robustness.attacks.naming import words
from pytest_robustness.errors import InputError
from pytest_robustness.types import Images, Norm

__all__ = ["FAMILIES", "Family", "Kind", "Settings", "Task", "family_of", "norm_of"]

Family: TypeAlias = Literal["foolbox", "torchattacks", "art", "function"]
"""Where an attack comes from; "art" is the Adversarial Robustness Toolbox."""

# How the libraries write the norms.
_NORMS = {"inf": "linf", "linf": "linf", "2": "l2", "2.0": "l2", "l2": "l2"}
# Parameters that take an argument by its place.
_PLACES = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Settings(Protocol):
    """A foreign attack as its stress holds it; the stress is named in errors by its repr."""

    @property
    def attack(self) -> Any: ...

    @property
    def norm(self) -> Norm: ...

    @property
    def family(self) -> Family: ...


class Task(NamedTuple):
    """What a foreign attack is given: the model, images, and labels to leave or, where `targeted`, to come to."""

    model: nn.Module
    images: Images
    labels: torch.Tensor
    targeted: bool
    epsilon: float
    classes: int


@dataclass(frozen=True)
class Kind:
    """What there is to know of a family.

    `noun` names one of its attacks; `distribution` is the package to install, empty where there is none; instances of classes of the module `settings`
    hold nothing but settings. `check` raises InputError for an attack that is not of the family; `run` returns what
    the attack makes of the images of a task.
    """

    noun: str
    distribution: str
    settings: str
    check: Callable[[Settings], None]
    run: Callable[[Settings, Task], object]


def family_of(attack: Any) -> Family:
    """By the modules of its class and of those that this is derived from, so that nothing is imported."""
    while isinstance(attack, functools.partial):
        attack = attack.func
    kinds = (attack if isinstance(attack, type) else type(attack)).__mro__
    packages = {kind.__module__.partition(".")[0] for kind in kinds}
    families: tuple[Family, ...] = get_args(Family)
    return next((family for family in families if family in packages), "function")


def norm_of(attack: Any) -> Any:
    """The norm that an attack says it keeps to, in our words if we have one for it; None where it says nothing."""
    stated = getattr(getattr(attack, "distance", None), "p", getattr(attack, "norm", None))
    if isinstance(stated, bool) or not isinstance(stated, (str, int, float)):
        return None
    return _NORMS.get(str(stated).lower(), stated.lower() if isinstance(stated, str) else f"l{stated:g}")


def _check_norm(stress: Settings, attack: Any) -> None:
    own = norm_of(attack)
    if own not in (None, stress.norm):
        raise InputError(
            f"{stress!r}: expected an attack in the norm {stress.norm!r}, got one in {own!r}, which is weak in any other "
            "ball than its own; give it and the stress the same"
        )


def _check_instance(stress: Settings) -> None:
    if family_of(stress.attack) != "foolbox" or isinstance(stress.attack, (type, functools.partial)):
        raise InputError(
            f"{stress!r}: expected an attack of foolbox with its settings, as in foolbox.attacks.LinfPGD(), got "
            f"{words(stress.attack)}; make an instance"
        )
    _check_norm(stress, stress.attack)


def _check_factory(stress: Settings) -> None:
    made = not isinstance(stress.attack, (type, functools.partial)) and family_of(stress.attack) == stress.family
    if made or not callable(stress.attack):
        raise InputError(
            f"{stress!r}: expected what makes {FAMILIES[stress.family].noun}s of a model and an epsilon, got {_kind(stress.attack)}; "
            "give its class, or a function of (model, eps)"
        )


def _check_function(stress: Settings) -> None:
    if not callable(stress.attack):
        raise InputError(
            f"{stress!r}: expected an attack of foolbox, what makes one of torchattacks or ART, or a function of "
            f"(model, images, labels), got {_kind(stress.attack)}"
        )
    signature = _signature(stress.attack)
    try:
        signature.bind(None, None, None, **_by_name(signature, 0.0))
    except TypeError:
        raise InputError(
            f"{stress!r}: expected a function of (model, images, labels), got one of {signature}; with one that makes an "
            "attack give family='torchattacks' or family='art'"
        ) from None


def _run_foolbox(stress: Settings, task: Task) -> object:
    import foolbox

    criteria = foolbox.criteria
    with _silenced("foolbox"):
        model = foolbox.PyTorchModel(task.model, bounds=(0, 1), device=task.images.device)
        criterion = (criteria.TargetedMisclassification if task.targeted else criteria.Misclassification)(task.labels)
        # The first is what the attack found, before foolbox clips it.
        return stress.attack(model, task.images, criterion, epsilons=task.epsilon)[0]


def _run_torchattacks(stress: Settings, task: Task) -> object:
    with _silenced("torchattacks"):
        attack = _made(stress, task.model, task.epsilon, "set_mode_targeted_by_label")
        if task.targeted:
            attack.set_mode_targeted_by_label(quiet=True)
        elif attack.attack_mode == "targeted(label)":
            _refuse_targeted(stress)
        return attack(task.images, task.labels)


def _run_art(stress: Settings, task: Task) -> object:
    from art.estimators.classification import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
        PyTorchClassifier,
    )

    with _silenced("art"):
        classifier = PyTorchClassifier(
            model=task.model,
            # A sum, so that the gradient of an image doesn't depend on how many others there are.
            loss=nn.CrossEntropyLoss(reduction="sum"),
            input_shape=tuple(task.images.shape[1:]),
            nb_classes=task.classes,
            clip_values=(0.0, 1.0),
            device_type="gpu" if task.images.device.type == "cuda" else "cpu",
        )
        attack = _made(stress, classifier, task.epsilon, "generate")
        if task.targeted:
            attack.set_params(targeted=True)
        elif attack.targeted:
            _refuse_targeted(stress)
        labels = F.one_hot(task.labels, task.classes).float()
        return torch.from_numpy(attack.generate(x=task.images.cpu().numpy(), y=labels.cpu().numpy()))


def _run_function(stress: Settings, task: Task) -> object:
    if task.targeted:
        raise InputError(
            f"{stress!r}: expected the goal Miss, got Mimic, and a function of (model, images, labels) is told no targets; use "
            "an attack of foolbox, torchattacks or ART, or one of this package"
        )
    return stress.attack(task.model, task.images, task.labels, **_by_name(_signature(stress.attack), task.epsilon))


FAMILIES: dict[Family, Kind] = {
    "foolbox": Kind("foolbox attack", "foolbox", "foolbox", _check_instance, _run_foolbox),
    "torchattacks": Kind("torchattacks attack", "torchattacks", "", _check_factory, _run_torchattacks),
    "art": Kind("ART attack", "adversarial-robustness-toolbox", "", _check_factory, _run_art),
    "function": Kind("function", "", "", _check_function, _run_function),
}


def _made(stress: Settings, model: object, epsilon: float, method: str) -> Any:
    """The attack that a factory makes of this model; the attacks of its family have the method."""
    signature = _signature(stress.attack)
    named = _by_name(signature, epsilon)
    places = [p for p in signature.parameters.values() if p.kind in _PLACES and p.default is p.empty]
    attack = stress.attack(model, **named) if named or len(places) < 2 else stress.attack(model, epsilon)
    if not callable(getattr(attack, method, None)):
        raise InputError(
            f"{stress!r}: expected a function that makes {FAMILIES[stress.family].noun}s, got one that makes {_kind(attack)}; "
            "return the attack itself, not what it does"
        )
    _check_norm(stress, attack)
    return attack


def _signature(function: Any) -> inspect.Signature:
    """The parameters of a function; of one that is written in C nothing may be known, so that anything fits."""
    try:
        return inspect.signature(function)
    except ValueError:
        return inspect.Signature([inspect.Parameter("images", inspect.Parameter.VAR_POSITIONAL)])


def _by_name(signature: inspect.Signature, epsilon: float) -> dict[str, float]:
    """The parameter that takes the epsilon, with it; empty where none is called so."""
    return {name: epsilon for name in ("eps", "epsilon") if name in signature.parameters}


def _kind(value: object) -> str:
    """The class of a value, or the value where it is one."""
    return words(value if isinstance(value, type) else type(value)).removeprefix("builtins.")


def _refuse_targeted(stress: Settings) -> None:
    raise InputError(
        f"{stress!r}: expected an untargeted attack for the goal Miss, got one that goes to the label it is given, which is the "
        "right one; leave its targeted mode off"
    )


@contextlib.contextmanager
def _silenced(package: str) -> Iterator[None]:
    """Within it no progress is printed, and the package's own code warns of nothing."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", module=rf"{package}\.")
        yield
