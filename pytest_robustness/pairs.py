"""Which images are attacked towards which classes, all pairs, a balanced sample of them or those that are named; and what came of it."""

import collections
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

from pytest_robustness.errors import InputError
from pytest_robustness.image_sets import ImageSet, LabelledImage
from pytest_robustness.matrices import cells_text, exemplary, surest
from pytest_robustness.records import Case, Choice, Matrix, Outcome, Pair
from pytest_robustness.seeding import Streams

__all__ = ["Plan", "Targets", "check_targets", "planned_pairs", "tallied"]

Targets: TypeAlias = int | str | Sequence[str] | Sequence[tuple[LabelledImage | str, str]] | None
"""What images go towards: every other class (None), so many of them drawn for each image, the classes or groups that are
named, or given pairs of an image and a class."""


@dataclass(frozen=True)
class Plan:
    """Pairs of an image's id and a target's number, by images; what the images are of; and how the pairs were chosen.

    Classes of one name are one class here, the first of them being what is aimed at. `classes` are those on either side, in
    the model's order. `drawn` is the number of targets drawn for each image, 0 where they were not.
    """

    pairs: tuple[tuple[str, int], ...]
    true: Mapping[str, str]
    classes: tuple[str, ...]
    choice: Choice
    drawn: int = 0


def planned_pairs(
    images: ImageSet,
    seed: int,
    *,
    classes: str | Sequence[str] | None = None,
    images_per_class: int | None = None,
    targets: Targets = None,
    sample: Callable[[Sequence[str]], Sequence[str]] = tuple,
) -> Plan:
    """The pairs of the images of these `classes`, names or groups (all without), and of what `targets` says.

    With `classes`, every other class is every other one of them. An image with several accepted classes counts as the first
    of them that is asked for, and goes towards none of them. `images_per_class` images are drawn by the seed and their ids.
    Drawn targets are balanced: each class is met as often as any other, by all images and by those of one class, as
    evenly as numbers allow; the draw of all images is one, so a part of them has no draw of its own. Of all the images that are
    chosen so, those take part that `sample` takes; pairs that are given are not sampled.

    Raises InputError for unknown names, numbers that ask for nothing or for more than there is, and where no pair is left.
    """
    if _is_pairs(targets):
        if classes is not None or images_per_class is not None:
            raise InputError(
                "expected given pairs alone, got classes= or images_per_class= as well; leave them out, or name the targets only"
            )
        return _given(images, targets)  # type: ignore[arg-type]
    wanted = range(len(images.classes)) if classes is None else _indices(images, classes)
    chosen = _chosen(images, seed, wanted, images_per_class)
    true = {image_id: chosen[image_id] for image_id in sample(list(chosen))}
    named = None if targets is None or isinstance(targets, int) else _indices(images, targets)  # type: ignore[arg-type]
    candidates = _first_of_a_name(images, wanted if named is None else named)
    drawn = _checked_number(targets, len(candidates) - 1) if isinstance(targets, int) else 0
    kinds = {image_id: _Kind(name, images.accepted(images[image_id])) for image_id, name in true.items()}
    allowed = {
        own: [target for target in candidates if images.classes[target] not in own]
        for own in {kind.accepted for kind in kinds.values()}
    }
    # An image of a target alone has nowhere to go.
    kinds = {image_id: kind for image_id, kind in kinds.items() if allowed[kind.accepted]}
    if drawn and kinds:
        aimed = _balanced(kinds, allowed, drawn, seed)
    else:
        aimed = {image_id: allowed[kind.accepted] for image_id, kind in kinds.items()}
    pairs = tuple((image_id, target) for image_id, aims in aimed.items() for target in aims)
    return _plan(images, pairs, true, "drawn" if drawn else "all" if named is None else "given", drawn)


def check_targets(images: ImageSet, pairs: Iterable[tuple[str, int]]) -> None:
    """Refuse a pair whose target is no class, or is accepted."""
    k = len(images.classes)
    for image_id, target in pairs:
        if not 0 <= target < k:
            raise InputError(f"{image_id}: expected a target from 0 to {k - 1}, a class's number, got {target!r}")
        if target in images[image_id].labels:
            raise InputError(
                f"{image_id}: expected a target that is not accepted, got {images.classes[target]!r}, which is right; "
                "choose another class"
            )


def tallied(
    images: ImageSet,
    case: Case,
    plan: Plan,
    pairs: Sequence[tuple[str, int]],
    outcomes: Sequence[Outcome],
    wrong: Collection[str],
) -> Matrix:
    """The matrix of these pairs of the plan, which may be a share of it, from the outcome of each.

    Images that were `wrong` when clean are counted and left out. A pair succeeded where the target is what was answered. The
    examples are those of a whole matrix; of a share all that may become one when it is merged with the others.
    """
    place = {name: at for at, name in enumerate(plan.classes)}
    rows: list[dict[int, tuple[int, int]]] = [{} for _ in plan.classes]
    tried = [
        Pair(image_id, plan.true[image_id], images.classes[target], outcome)
        for (image_id, target), outcome in zip(pairs, outcomes, strict=True)
        if image_id not in wrong
    ]
    for pair in tried:
        row, column = rows[place[pair.true]], place[pair.target]
        k, n = row.get(column, (0, 0))
        row[column] = (k + _succeeded(pair), n + 1)
    left_out = collections.Counter(
        plan.true[image_id] for image_id in dict.fromkeys(i for i, _ in pairs) if image_id in wrong
    )
    record = Matrix(
        case=case,
        classes=plan.classes,
        cells=tuple(cells_text(row, len(plan.classes)) for row in rows),
        groups=_groups(images, plan.classes),
        excluded=tuple((name, left_out[name]) for name in plan.classes if left_out[name]),
        choice=plan.choice,
        targets=plan.drawn,
        planned=len(plan.pairs),
        queries=sum(pair.outcome.queries for pair in tried),
        gradients=sum(pair.outcome.gradients for pair in tried),
    )
    successes = [pair for pair in tried if _succeeded(pair)]
    return replace(
        record, examples=exemplary(record, successes) if len(pairs) == len(plan.pairs) else surest(successes)
    )


def _succeeded(pair: Pair) -> bool:
    return pair.outcome.predicted == pair.target


def _groups(images: ImageSet, classes: Sequence[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The groups of these classes, by their names, without those that have none of them."""
    named = {group: {images.classes[index] for index in indices} for group, indices in images.groups.items()}
    found = ((group, tuple(name for name in classes if name in members)) for group, members in named.items())
    return tuple((group, members) for group, members in found if members)


class _Kind(NamedTuple):
    """What images have in common that may go towards the same targets: the class they count as, and all that are accepted."""

    true: str
    accepted: tuple[str, ...]


def _is_pairs(targets: Targets) -> bool:
    if targets is None or isinstance(targets, (int, str)):
        return False
    if not isinstance(targets, Iterable):
        raise InputError(
            f"expected targets to be a number of them, names of classes or groups, or pairs, got {targets!r}; "
            "leave it out for every other class"
        )
    return any(not isinstance(target, str) for target in targets)


def _checked_number(number: int, most: int) -> int:
    """How many targets are drawn for each image, 0 where all of them are taken."""
    if isinstance(number, bool) or not 1 <= number <= most:
        raise InputError(
            f"expected targets to be a whole number from 1 to {most}, the other classes of an image, got {number!r}; "
            "leave it out for all of them"
        )
    return number if number < most else 0


def _given(images: ImageSet, targets: Sequence[tuple[LabelledImage | str, str]]) -> Plan:
    pairs: dict[tuple[str, int], None] = {}
    for given in targets:
        if not isinstance(given, (tuple, list)) or len(given) != 2:
            raise InputError(f"expected pairs of an image and a class, got {given!r}; write them as (image, 'zebra')")
        image, name = given
        image = images[image.id if isinstance(image, LabelledImage) else image]
        (target,) = _first_of_a_name(images, _indices(images, name))[:1]
        if name in images.groups:
            raise InputError(f"{image.id}: expected one class to go towards, got the group {name!r}; name its classes")
        if name in images.accepted(image):
            raise InputError(f"{image.id}: expected a class that is not accepted, got {name!r}; choose another one")
        pairs[image.id, target] = None
    true = {image_id: images.classes[images[image_id].labels[0]] for image_id, _ in pairs}
    return _plan(images, tuple(sorted(pairs)), true, "given", 0)


def _plan(
    images: ImageSet, pairs: tuple[tuple[str, int], ...], true: Mapping[str, str], choice: Choice, drawn: int
) -> Plan:
    if not pairs:
        raise InputError(
            "expected at least one image and a class to go towards, got none; a gate over nothing would pass every model"
        )
    names = {images.classes[target] for _, target in pairs} | {true[image_id] for image_id, _ in pairs}
    # Each name once, at its first place.
    classes = tuple(name for name in dict.fromkeys(images.classes) if name in names)
    return Plan(pairs, true, classes, choice, drawn)


def _indices(images: ImageSet, names: str | Iterable[str]) -> Sequence[int]:
    """The classes that these names, of classes or groups, stand for, in the model's order."""
    return sorted({index for name in ([names] if isinstance(names, str) else names) for index in images.indices(name)})


def _first_of_a_name(images: ImageSet, indices: Iterable[int]) -> list[int]:
    """The classes without those that another one in front of them is called like: an answer is known by its name."""
    first: dict[str, int] = {}
    for index in indices:
        first.setdefault(images.classes[index], index)
    return list(first.values())


def _chosen(images: ImageSet, seed: int, wanted: Iterable[int], images_per_class: int | None) -> Mapping[str, str]:
    """The name of the class that each image counts as, in the order of their ids; as many of each class as are asked for."""
    asked = set(wanted)
    of_class: dict[int, list[str]] = collections.defaultdict(list)
    for image in images.images:
        own = next((label for label in image.labels if label in asked), None)
        if own is not None:
            of_class[own].append(image.id)
    most = len(images) if images_per_class is None else images_per_class
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise InputError(f"expected images_per_class to be a whole number >= 1, got {most!r}")
    drawn = {label: _shuffled(ids, seed, "images")[:most] for label, ids in of_class.items()}
    true = {image_id: images.classes[label] for label, ids in drawn.items() for image_id in ids}
    return dict(sorted(true.items()))


def _shuffled(ids: Iterable[str], seed: int, purpose: str) -> list[str]:
    """The ids in an order that depends on nothing but the seed and themselves."""
    ids = tuple(ids)
    return [image_id for _, image_id in sorted(zip(Streams(seed, purpose, ids).seeds(), ids, strict=True))]


def _balanced(
    kinds: Mapping[str, _Kind], allowed: Mapping[tuple[str, ...], Sequence[int]], number: int, seed: int
) -> dict[str, list[int]]:
    """So many of the allowed targets for each image.

    Images of one kind go towards each target equally often, but for a remainder of one; the remainders are where the targets are
    met least by all.
    """
    alike: dict[_Kind, list[str]] = collections.defaultdict(list)
    for image_id in _shuffled(kinds, seed, "targets"):
        alike[kinds[image_id]].append(image_id)
    met: collections.Counter[int] = collections.Counter()
    each: dict[_Kind, int] = {}
    more: dict[_Kind, list[int]] = {}
    for kind, ids in alike.items():
        targets = allowed[kind.accepted]
        each[kind], rest = divmod(len(ids) * min(number, len(targets)), len(targets))
        met.update(dict.fromkeys(targets, each[kind]))
        # In an order of chance, which the sort by counts keeps among equals.
        by_chance = [int(text) for text in _shuffled(map(str, targets), seed, f"targets of {kind.true}")]
        more[kind] = sorted(by_chance, key=met.__getitem__)[:rest]
        met.update(more[kind])
    _even_out(met, more, allowed)
    chosen: dict[str, list[int]] = {}
    for kind, ids in alike.items():
        extra = set(more[kind])
        copies = [target for target in allowed[kind.accepted] for _ in range(each[kind] + (target in extra))]
        # Dealt like cards: what lies together, and is no more than there are images, goes to different ones.
        chosen.update((image_id, sorted(copies[place :: len(ids)])) for place, image_id in enumerate(ids))
    return {image_id: chosen[image_id] for image_id in kinds}


def _even_out(
    met: collections.Counter[int],
    more: Mapping[_Kind, list[int]],
    allowed: Mapping[tuple[str, ...], Sequence[int]],
) -> None:
    """Move remainders from the target that is met most to the one that is met least, as long as that brings them together."""
    while True:
        low, high = min(met, key=met.__getitem__), max(met, key=met.__getitem__)
        moved = (k for k, rest in more.items() if high in rest and low not in rest and low in allowed[k.accepted])
        kind = next(moved, None) if met[high] - met[low] > 1 else None
        if kind is None:
            return
        more[kind].remove(high)
        more[kind].append(low)
        met[high] -= 1
        met[low] += 1
