"""Try the installed package as a new user would, in an empty folder: `python -P .ci/installed.py`, with nothing but its own dependencies there.

Says what it did, and exits with 1 at the first thing that is not as it should be.
"""

import importlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

_PACKAGE = "pytest-robustness"
_CLASSES = {"dark": 40, "bright": 215}
_MODEL = '''
import torch


class Brightness(torch.nn.Module):
    """Two classes, dark and bright, in the order of their folders' names."""

    def forward(self, images):
        light = 8 * images.mean((1, 2, 3)) - 4
        return torch.stack([light, -light], 1)
'''


def main() -> None:
    """All checks in turn."""
    installed = {each.metadata["Name"].lower() for each in importlib.metadata.distributions()}
    surplus = sorted(installed & _of_extras())
    _check(not surplus, f"none of the {len(_of_extras())} libraries of extras is installed{_listed(surplus)}")
    module = importlib.import_module("pytest_robustness")
    package = Path(module.__path__[0])
    _check("site-packages" in package.parts, f"the package is the installed one, in {package}")
    _check((package / "py.typed").is_file(), "it has its types")
    missing = [name for name in module.__all__ if not hasattr(module, name)]
    _check(not missing, f"all {len(module.__all__)} public names are there{_listed(missing)}")
    with tempfile.TemporaryDirectory() as folder:
        _try_it(Path(folder))


def _listed(names: list[str]) -> str:
    return f", but for {', '.join(names)}" if names else ""


def _of_extras() -> set[str]:
    """The libraries that only an extra asks for."""
    needed, extra = set(), set()
    for requirement in importlib.metadata.requires(_PACKAGE) or []:
        name = re.split(r"[^\w.-]", requirement)[0].lower()
        (extra if "extra ==" in requirement else needed).add(name)
    return extra - needed - {_PACKAGE}


def _try_it(folder: Path) -> None:
    from PIL import Image

    (folder / "shop.py").write_text(_MODEL, encoding="utf-8")
    for name, level in _CLASSES.items():
        (folder / "images" / name).mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (16, 16), (level + number,) * 3).save(folder / "images" / name / f"{name}_{number}.png")
    done = _run(folder, "-m", "pytest_robustness", "init", "--model", "shop:Brightness", "--images", "images")
    _check(done.returncode == 0, "init writes a gate for a model and its images")
    done = _run(folder, "-m", "pytest", "--robustness-json=out.json", "--robustness-report=out.html")
    _check(done.returncode == 0, "pytest runs it, and it passes")
    verdicts = json.loads((folder / "out.json").read_text(encoding="utf-8"))["verdicts"]
    _check(bool(verdicts) and (folder / "out.html").is_file(), f"{len(verdicts)} verdicts and a report are there")


def _run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode != 0:
        sys.stdout.write(done.stdout + done.stderr)
    return done


def _check(holds: bool, said: str) -> None:
    sys.stdout.write(f"{'ok' if holds else 'NOT OK'}: {said}\n")
    if not holds:
        sys.exit(1)


if __name__ == "__main__":
    main()
