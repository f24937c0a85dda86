"""YAML with its lines: what is read, and what a file that means harm or nothing is told."""

from pathlib import Path
from typing import Any

import pytest

from pytest_robustness.config.reading import Node, Refused, described, gathered, listed, meant, read_yaml, unknown


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(text: str | bytes) -> Node:
    Path("robustness.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    return read_yaml(Path("robustness.yaml"))


def plain(node: Node) -> Any:
    if isinstance(node.value, tuple):
        return [plain(own) for own in node.value]
    if isinstance(node.value, dict):
        return {name: plain(entry.value) for name, entry in node.value.items()}
    return node.value


def test_values_are_those_of_yaml_1_2_where_no_is_a_word_and_1e_3_a_number() -> None:
    text = (
        "{a: no, b: 1e-3, c: 007, d: 1:30, e: 2024-01-01, f: .5, g: ~, h: , i: True, j: '1', k: -2, l: 2/255, m: 0x1}"
    )
    assert plain(read(text)) == {
        "a": "no",
        "b": 0.001,
        "c": 7,
        "d": "1:30",
        "e": "2024-01-01",
        "f": 0.5,
        "g": None,
        "h": None,
        "i": True,
        "j": "1",
        "k": -2,
        "l": "2/255",
        "m": "0x1",
    }


def test_every_value_and_every_key_knows_its_line() -> None:
    root = read("# gates\ngates:\n  pgd:\n    stress:\n      PGD\n    list: [1,\n      2]\n")
    gate = root.mapping("a mapping")["gates"].value.mapping("gates")["pgd"]
    assert (gate.key.where, gate.value.where) == ("robustness.yaml:3", "robustness.yaml:4")
    entries = gate.value.mapping("a gate")
    assert (entries["stress"].key.line, entries["stress"].value.line) == (4, 5)
    assert [own.line for own in entries["list"].value.value] == [6, 7]  # type: ignore[union-attr]


def test_an_alias_is_the_value_that_it_stands_for() -> None:
    root = read("a: &strong {PGD: {steps: 40}}\nb: *strong\n").mapping("a mapping")
    assert root["a"].value is root["b"].value


def test_a_tag_says_what_a_scalar_is() -> None:
    assert plain(read("[!!str 5, !!int '5', !!float '1']")) == ["5", 5, 1.0]


LAUGHS = "\n".join(["a0: &a0 [ha]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: 1\nb: !!python/object/apply:os.system [echo]\n",
            "robustness.yaml:2: expected plain values, got the tag !!python/object/apply:os.system; nothing but data is read",
        ),
        ("a: !mine x\n", "robustness.yaml:1: expected plain values, got the tag !mine; nothing but data is read"),
        (
            "a: !!binary aGk=\n",
            "robustness.yaml:1: expected plain values, got the tag !!binary; nothing but data is read",
        ),
        ("a: !!int many\n", "robustness.yaml:1: expected a value of the tag !!int, got 'many'"),
        (LAUGHS, "robustness.yaml:6: expected at most 20,000 values, got aliases that unfold to more"),
        (
            "a: &a [1, *a]\n",
            "robustness.yaml:1: expected values that end, got one that contains itself; leave out the alias",
        ),
        (
            "gates:\n  pgd: 1\n  fgsm: 2\n  pgd: 3\n",
            "robustness.yaml:4: expected every key once, got 'pgd' as on line 2 already; leave one of them out",
        ),
        ("? [a, b]\n: 1\n", "robustness.yaml:1: expected a name or a number as a key, got a list or a mapping"),
        ("a: b: c\n", "robustness.yaml:1: expected YAML, the parser says: mapping values are not allowed here"),
        (
            "a: [1,\nb: 2\n",
            "robustness.yaml:3: expected YAML, the parser says: expected ',' or ']', but got '<stream end>'",
        ),
        ("a: 1\n---\nb: 2\n", "robustness.yaml:2: expected YAML, the parser says: but found another document"),
        (
            "a: \x00\n",
            "robustness.yaml: expected YAML, the parser says: unacceptable character #x0000: special characters are not allowed",
        ),
        ("a: *b\n", "robustness.yaml:1: expected YAML, the parser says: found undefined alias 'b'"),
        (b"a: \xff\n", "robustness.yaml: expected a YAML file, could not read it: it is no UTF-8 text"),
        ("a: " + "x" * 2**20, "robustness.yaml: expected at most 256 KiB of YAML, got more; split it by extends"),
        ("[" * 5000, "robustness.yaml: expected YAML, got more brackets in brackets than can be read"),
    ],
)
def test_a_file_that_is_no_plain_data_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(Refused) as refused:
        read(text)
    assert str(refused.value) == message


def test_a_file_that_is_not_there_is_told() -> None:
    with pytest.raises(Refused) as refused:
        read_yaml(Path("robustness.yaml"))
    assert str(refused.value) == ("robustness.yaml: expected a YAML file, could not read it: No such file or directory")


def test_two_things_that_are_wrong_are_told_at_once() -> None:
    with pytest.raises(Refused) as refused:
        read("a: !x 1\nb: {c: 1, c: 2}\n")
    assert refused.value.lines == (
        "robustness.yaml:1: expected plain values, got the tag !x; nothing but data is read",
        "robustness.yaml:2: expected every key once, got 'c' as on line 2 already; leave one of them out",
    )


def test_all_steps_are_taken_and_the_refusals_gathered() -> None:
    def step(number: int) -> int:
        if number % 2:
            raise Refused(f"{number} is odd", "it is")
        return number

    assert gathered(lambda n=n: step(n) for n in (2, 4)) == [2, 4]  # type: ignore[misc]
    with pytest.raises(Refused) as refused:
        gathered(lambda n=n: step(n) for n in range(4))  # type: ignore[misc]
    assert refused.value.lines == ("1 is odd", "it is", "3 is odd", "it is")


def test_of_many_refusals_the_first_twenty_are_told() -> None:
    text = str(Refused(*map(str, range(30))))
    assert text.splitlines() == [*map(str, range(20)), "... and 10 more"]


def test_a_name_that_is_near_is_meant_whatever_its_case() -> None:
    assert meant("pgd", ["FGSM", "PGD"]) == "PGD"
    assert unknown("step", ["norm", "steps"]) == "; did you mean 'steps'?"
    assert unknown("zebra", ["norm", "steps"]) == "; known are norm, steps"
    assert unknown("zebra", []) == "; leave it out"


def test_values_are_described_in_a_word_or_two() -> None:
    values = [own.value for own in read("{a: , b: [], c: [1], d: {}, e: {f: 1}, g: true, h: x, i: .5}").value.values()]  # type: ignore[union-attr]
    assert [described(own) for own in values] == [
        "nothing",
        "an empty list",
        "a list",
        "an empty mapping",
        "a mapping",
        "true",
        "'x'",
        "0.5",
    ]
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b or c"
