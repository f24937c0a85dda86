"""Which files have gates, and which of them pytest is given."""

from pathlib import Path

import pytest

from pytest_robustness.config import given_files, is_gate_file


@pytest.mark.parametrize("name", ["robustness.yaml", "robustness.yml", "release.robustness.yaml", "a.b.robustness.yml"])
def test_a_file_has_gates_by_its_name(name: str) -> None:
    assert is_gate_file(Path("somewhere") / name)


@pytest.mark.parametrize("name", ["base.yaml", "my_robustness.yaml", "robustness.json", "robustness.yaml.bak"])
def test_other_files_have_none(name: str) -> None:
    assert not is_gate_file(Path("somewhere") / name)


def test_a_file_is_given_by_its_path_by_an_id_in_it_or_by_its_folder(tmp_path: Path) -> None:
    for name in ("robustness.yaml", "release.robustness.yml", "other.yaml", "deep/robustness.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    both = [tmp_path / "release.robustness.yml", tmp_path / "robustness.yaml"]
    assert given_files(["."], tmp_path) == both
    assert given_files([str(tmp_path), "../robustness.yaml::gate[dark_0]"], tmp_path / "deep") == both
    assert given_files(["robustness.yaml::gate[dark_0]", "robustness.yaml::other"], tmp_path) == both[1:]
    assert given_files(["deep", "robustness.yaml"], tmp_path) == [tmp_path / "deep" / "robustness.yaml", both[1]]
    assert given_files(["other.yaml", "missing/robustness.yaml", "test_it.py"], tmp_path) == []
