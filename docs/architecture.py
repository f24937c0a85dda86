"""The picture of docs/architecture.md, made of the imports: `python docs/architecture.py` draws it, `--check` says whether it is old.

Modules are put into groups, and groups into an order and in their places, by hand; who imports whom is read from the code. An import that does not go
further down in that order, as one of a cycle can't, is an error, and so is a module in no group. Drawn are the imports that follow from no others.
"""

import argparse
import ast
import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "architecture.svg"
_WIDTH, _HEIGHT = 1120, 1056
_BOX, _TALL = 178, 58
_TITLES = (
    (318, 46, "what tests and commands talk to"),
    (486, 490, "tensors"),
    (156, 602, "plain numbers, no torch"),
    (476, 984, "what all of it rests on:"),
    (476, 1001, "lines to these are left out"),
    (838, 84, "A line goes from modules that import"),
    (838, 102, "to those that are imported; lines"),
    (838, 120, "that follow from others are left out."),
    (838, 138, "A number says how many modules"),
    (838, 156, "there are in a group."),
)


@dataclass(frozen=True)
class Group:
    """Modules that are one thing to a reader; `x` and `y` are the middle of its box, `more` stretches it.

    `modules` are names, or with a dot at the end all of a folder.
    """

    about: str
    modules: str
    x: int
    y: int
    more: int = 0

    @property
    def width(self) -> int:
        return _BOX + self.more

    def has(self, module: str) -> bool:
        """Whether the module is one of its own."""
        return any(module == own or (own.endswith(".") and module.startswith(own)) for own in self.modules.split())


# From the top down.
GROUPS: Mapping[str, Group] = {
    "pytest hooks": Group("hooks and fixtures", "plugin", 660, 84),
    "command line": Group("what needs no session", "__main__", 440, 84, 40),
    "first gates": Group("init and measure", "starting starting.", 440, 166),
    "gates in YAML": Group("read with their lines, collected", "config config.", 550, 248, 30),
    "one session": Group(
        "options, order, workers, files",
        "choosing distribution keeping progress replaying reporting scheduling session settings sharing",
        550,
        332,
        30,
    ),
    "Robustness": Group(
        "assertions and measurements",
        "asserting defending explaining judging measuring releasing robustness",
        640,
        420,
        44,
    ),
    "ways to ask": Group("ladders, sweeps, traces", "explainers search tracing views", 690, 508, 40),
    "trust": Group("checks of the attack", "model_checks trust", 910, 508),
    "engine": Group(
        "images in chunks in, outcomes out, nothing computed twice",
        "answers cache devices engine memory pairing pairs provenance settling stressing",
        790,
        598,
        236,
    ),
    "defenses": Group("votes, smoothing", "defenses defenses. readings", 775, 696, 16),
    "explanations": Group("Grad-CAM, LIME, anchors", "explanations explanations.", 975, 696),
    "models": Group("sources, preprocessing", "models models.", 580, 788),
    "perturbations": Group("and common corruptions", "corruptions corruptions. perturbations perturbations.", 785, 788),
    "attacks": Group("gradient, random, foreign", "attacks attacks.", 985, 788),
    "images": Group(
        "files to pixels, image sets",
        "contents hub_datasets image_sets image_sources images loading manifests map_datasets preprocessing recent tars",
        680,
        880,
        16,
    ),
    "the model as run": Group(
        "frozen, folded, fingerprinted", "changes fingerprint folding restoring running sources", 890, 880, 24
    ),
    "report": Group("page, terminal, files", "formats report report.", 140, 744),
    "releases": Group("baselines, comparisons", "baseline_gates baselines comparing corpus merging remedies", 336, 642),
    "verdicts": Group(
        "what each gate asks for",
        "certificates doubts explanation_gates gates rate_gates strength_gates vote_gates",
        336,
        744,
    ),
    "measured numbers": Group(
        "that explain themselves",
        "accuracy_curves curves matrices measurements vote_tables",
        238,
        846,
        48,
    ),
    "types": Group("protocols, norms, seeds", "cases norms seeding types", 785, 988),
    "stats": Group("bounds and tests", "bounds corruption_error rates stats", 108, 988, -54),
    "records": Group(
        "outcomes, JSON", "charts comparisons explained gallery records results schema shards traces", 248, 988, -54
    ),
    "words": Group("errors, names", "classes documents errors nodeids profiles", 388, 988, -54),
}
# What everything rests on: lines to these are left out.
_GROUND = frozenset({"words", "records", "stats", "types"})
# Where a line leaves on the left side, because something is in its way below: x of where it goes down, and whether it enters
# on the right side too.
_SIDEWAYS: Mapping[tuple[str, str], tuple[int, bool]] = {
    ("engine", "measured numbers"): (450, True),
    ("Robustness", "releases"): (336, False),
    ("one session", "report"): (140, False),
}


@functools.cache
def imports() -> Mapping[str, frozenset[str]]:
    """Which modules of the package each module imports, at its head or within a function."""
    package = ROOT / "pytest_robustness"
    found = {}
    for path in sorted(package.rglob("*.py")):
        module = ".".join(path.relative_to(package).with_suffix("").parts).removesuffix(".__init__")
        # The package itself is a table of names.
        if module != "__init__":
            nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
            named = [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]
            named += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
            ours = (name.removeprefix("pytest_robustness.") for name in named if name.startswith("pytest_robustness."))
            found[module] = frozenset(ours)
    return found


def group_of(module: str, groups: Mapping[str, Group]) -> str:
    """The name of the one group that has the module. Raises ValueError for none and for several."""
    found = [name for name, group in groups.items() if group.has(module)]
    if len(found) != 1:
        raise ValueError(f"{module}: expected one group that has it, got {', '.join(found) or 'none'}; see GROUPS")
    return found[0]


def edges(groups: Mapping[str, Group], imported: Mapping[str, frozenset[str]]) -> frozenset[tuple[str, str]]:
    """Which group imports of which. Raises ValueError for an import that does not go to a group further down."""
    order = list(groups)
    found = set()
    for module, others in imported.items():
        for other in others:
            upper, lower = group_of(module, groups), group_of(other, groups)
            if order.index(upper) > order.index(lower):
                raise ValueError(
                    f"{module} ({upper}): expected imports of groups further down, got {other} ({lower}); move what it needs down"
                )
            if upper != lower:
                found.add((upper, lower))
    return frozenset(found)


def reduced(found: frozenset[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    """The edges that follow from no others."""

    def leads(upper: str, lower: str, without: tuple[str, str]) -> bool:
        steps = [own for own in found if own[0] == upper and own != without]
        return any(step[1] == lower or leads(step[1], lower, without) for step in steps)

    return frozenset(own for own in found if not leads(*own, own))


def picture() -> str:
    """The picture as SVG, in the colours of the reader's choice of light or dark."""
    lines = reduced(frozenset(own for own in edges(GROUPS, imports()) if own[1] not in _GROUND))
    body = [*_areas(), *_lines(sorted(lines)), *_boxes()]
    return "\n".join([_HEAD.format(width=_WIDTH, height=_HEIGHT), *body, "</svg>"]) + "\n"


def main(given: Sequence[str] | None = None) -> int:
    """Draw the picture, or with --check say whether it is old; the exit status, 2 where the imports can't be drawn."""
    parser = argparse.ArgumentParser("python docs/architecture.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where the picture is old")
    check = parser.parse_args(given).check
    try:
        drawn = picture()
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    old = not PICTURE.exists() or PICTURE.read_text(encoding="utf-8") != drawn
    if old and check:
        sys.stdout.write("docs/architecture.svg is old: draw it with python docs/architecture.py\n")
    elif old:
        PICTURE.write_text(drawn, encoding="utf-8")
    return int(old and check)


def _areas() -> Iterator[str]:
    yield f'<rect class="page" width="{_WIDTH}" height="{_HEIGHT}" rx="10"/>'
    for x, y, width, height in ((300, 24, 796, 442), (468, 468, 628, 466), (24, 580, 418, 354), (24, 944, 1072, 88)):
        yield f'<rect class="area" x="{x}" y="{y}" width="{width}" height="{height}" rx="12"/>'
    for x, y, title in _TITLES:
        yield f'<text x="{x}" y="{y}">{title}</text>'


def _boxes() -> Iterator[str]:
    for name, group in GROUPS.items():
        count = sum(map(group.has, imports()))
        kind = "ground" if name in _GROUND else "bridge" if name == "engine" else "box"
        x, y = group.x - group.width // 2, group.y - _TALL // 2
        yield f'<g><title>{escape(_told(group))}</title><rect class="{kind}" x="{x}" y="{y}" width="{group.width}" height="{_TALL}" rx="7"/>'
        yield f'<text class="name" x="{group.x}" y="{group.y - 5}">{escape(name)} <tspan class="count">{count}</tspan></text>'
        yield f'<text class="about" x="{group.x}" y="{group.y + 15}">{escape(group.about)}</text></g>'


def _told(group: Group) -> str:
    return ", ".join(sorted(filter(group.has, imports())))


def _lines(lines: Sequence[tuple[str, str]]) -> Iterator[str]:
    straight = [own for own in lines if own not in _SIDEWAYS]
    for upper, lower in lines:
        start, end = GROUPS[upper], GROUPS[lower]
        if (upper, lower) in _SIDEWAYS:
            down, beside = _SIDEWAYS[upper, lower]
            corner = f"M{start.x - start.width // 2} {start.y} H{down + 18} Q{down} {start.y} {down} {start.y + 18}"
            entry = f"V{end.y - 18} Q{down} {end.y} {down - 18} {end.y} H{end.x + end.width // 2 + 7}"
            yield f'<path class="line" d="{corner} {entry if beside else f"V{end.y - _TALL // 2 - 7}"}"/>'
            continue
        x = _port(start, [GROUPS[own[1]].x for own in straight if own[0] == upper], end.x)
        to = _port(end, [GROUPS[own[0]].x for own in straight if own[1] == lower], start.x)
        y, top = start.y + _TALL // 2, end.y - _TALL // 2 - 7
        yield f'<path class="line" d="M{x} {y} C{x} {y + 26} {to} {top - 26} {to} {top}"/>'


def _port(group: Group, others: Sequence[int], other: int) -> int:
    """Where a line to what lies at `other` meets the group's edge: lines side by side in the order of what they lead to."""
    place, count = sorted(others).index(other), len(others)
    return round(group.x + group.width * 0.7 * ((place + 0.5) / count - 0.5))


_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="Groups of modules, and which imports which">
<style>
  svg {{ --page: #ffffff; --area: #f4f5f7; --box: #ffffff; --bridge: #dbe7fb; --ground: #ecedf0; --edge: #b6bcc6; --ink: #1c2330; --soft: #5b6472; --line: #6c7a92; }}
  @media (prefers-color-scheme: dark) {{
    svg {{ --page: #0f1319; --area: #171c24; --box: #222934; --bridge: #1f3a63; --ground: #1b212b; --edge: #3d4756; --ink: #e8ebf0; --soft: #a3adbb; --line: #8d9cb5; }}
  }}
  text {{ font: 13px system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; fill: var(--soft); }}
  .name, .about {{ text-anchor: middle; }}
  .name {{ font-size: 16px; font-weight: 600; fill: var(--ink); }}
  .count {{ font-size: 12px; font-weight: 400; fill: var(--soft); }}
  .about {{ font-size: 12.5px; }}
  .page {{ fill: var(--page); }}
  .area {{ fill: var(--area); }}
  .box, .bridge, .ground {{ stroke: var(--edge); fill: var(--box); }}
  .bridge {{ fill: var(--bridge); }}
  .ground {{ fill: var(--ground); stroke-dasharray: 3 3; }}
  .line {{ fill: none; stroke: var(--line); stroke-width: 1.5; marker-end: url(#tip); }}
  #tip path {{ fill: var(--line); }}
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="2" refY="4" markerWidth="6" markerHeight="6" orient="auto"><path d="M0 0 L8 4 L0 8 Z"/></marker></defs>"""


if __name__ == "__main__":
    sys.exit(main())
