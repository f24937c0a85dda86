"""What was computed once is found again, by any process; whatever happens to the file, no test is the worse for it."""

import dataclasses
import json
import os
import random
import signal
import sqlite3
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_robustness import cache
from pytest_robustness.cache import LIMIT, CacheWarning, OutcomeStore
from pytest_robustness.records import Outcome

RIGHT = Outcome("zebra/1.png", ("zebra", "okapi"), "zebra", True, 0.61, 0.7, (("zebra", 0.61), ("tiger", 0.3)))
ABSTAINED = Outcome("zebra/2.png", ("zebra",), None, False, 0.0, 1 / 3, (("zebra", 1 / 3),), ("zebra", "tiger"))

DAMAGED = (
    "{path}: expected outcomes as they were kept, got {n} damaged; what can't be used is dropped and computed again"
)
REPLACED = (
    "{path}: expected a store of outcomes of this version, got something else ({cause}); "
    "what can't be used is dropped and computed again"
)
OFF = (
    "{path}: expected a file to keep outcomes in, got an error ({cause}); "
    "this run goes on without; check the disk and its permissions"
)

posix = pytest.mark.skipif(os.name != "posix", reason="as POSIX has it")


def outcome(number: int) -> Outcome:
    return dataclasses.replace(RIGHT, image=f"zebra/{number}.png", confidence=number / 7)


def outcomes(n: int) -> dict[str, Outcome]:
    return {f"model/stress/{number}": outcome(number) for number in range(n)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "outcomes.db"


@pytest.fixture
def store(path: Path) -> Iterator[OutcomeStore]:
    store = OutcomeStore(path)
    yield store
    store.close()


@pytest.fixture(autouse=True)
def told() -> Iterator[list[str]]:
    """What the stores warned of. Nothing, unless the test takes it: they don't raise where warnings are errors."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error", CacheWarning)
        messages: list[str] = []
        yield messages
        assert [str(warning.message) for warning in caught] == messages


def keep(path: Path, kept: dict[str, Outcome]) -> None:
    """Put and close, as a run before did."""
    store = OutcomeStore(path)
    store.put(kept)
    store.close()


def change(path: Path, statement: str, *values: object) -> None:
    """What happens to the file behind the store's back."""
    db = sqlite3.connect(path)
    with db:
        db.execute(statement, values)
    db.close()


PROCESS = """
import json, os, signal, sys, time
from pathlib import Path
from pytest_robustness.cache import OutcomeStore
from pytest_robustness.records import Outcome

def outcome(key):
    return Outcome(key, ("zebra",), "zebra", True, 0.5, 0.5, (("zebra", 0.5),))

def say(answer):
    print(json.dumps(answer), flush=True)

store = OutcomeStore(Path(sys.argv[1]), shared=True)
"""


class Process:
    """Another process with a store on the same file, which runs what it is told and says what it is asked."""

    def __init__(self, path: Path) -> None:
        loop = "for line in sys.stdin:\n    exec(json.loads(line))\n"
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROCESS + loop, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def begin(self, code: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(code) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        return json.loads(self.process.stdout.readline() or self.process.stderr.read())

    def ask(self, expression: str) -> Any:
        self.begin(f"say({expression})")
        return self.answer()


@pytest.fixture
def another(path: Path) -> Iterator[Callable[[], Process]]:
    started: list[Process] = []

    def start() -> Process:
        started.append(Process(path))
        return started[-1]

    yield start
    for process in started:
        process.process.kill()
        process.process.communicate()


def run(code: str, path: Path) -> subprocess.CompletedProcess[str]:
    """A process of its own from start to end."""
    return subprocess.run([sys.executable, "-c", PROCESS + code, path], capture_output=True, text=True, check=False)


# Getting and putting


def test_what_was_put_is_found_by_this_store_and_by_the_next_run(store: OutcomeStore, path: Path) -> None:
    kept = {"a": RIGHT, "b": ABSTAINED}
    assert store.get(["a", "b"]) == {}
    store.put(kept)
    assert store.get(["a", "b", "c"]) == kept
    store.close()
    assert OutcomeStore(path).get(iter(["a", "a", "c"])) == {"a": RIGHT}


def test_an_outcome_comes_back_with_the_types_that_it_had(store: OutcomeStore) -> None:
    store.put({"a": RIGHT, "b": ABSTAINED})
    found = store.get(["a", "b"])
    assert repr(found["a"]) == repr(RIGHT)
    assert repr(found["b"]) == repr(ABSTAINED)


def test_floats_come_back_bit_for_bit(store: OutcomeStore) -> None:
    numbers = random.Random(0)
    drawn = [struct.unpack("d", numbers.randbytes(8))[0] for _ in range(1000)]
    floats = [0.1, 1 / 3, -0.0, 5e-324, sys.float_info.max, float("inf"), float("-inf"), *drawn]
    floats = [number for number in floats if number == number]
    store.put({"a": dataclasses.replace(RIGHT, top=tuple(("zebra", number) for number in floats))})
    found = [number for _, number in store.get(["a"])["a"].top]
    assert struct.pack(f"{len(floats)}d", *found) == struct.pack(f"{len(floats)}d", *floats)


@pytest.mark.parametrize(
    "name", ["日本/しまうま.png", "café\u0301.png", "🦓", "a\0b", 'q"uote\\', "not unicode \udcff"]
)
def test_a_file_may_have_any_name(store: OutcomeStore, name: str) -> None:
    named = dataclasses.replace(RIGHT, image=name)
    store.put({f"key of {name}": named, "another": RIGHT})
    assert store.claim([f"key of {name}", f"claim of {name}"], 2) == [f"claim of {name}"]
    assert store.get([f"key of {name}"]) == {f"key of {name}": named}


def test_many_keys_are_one_question(store: OutcomeStore) -> None:
    kept = outcomes(2500)
    store.put(kept)
    assert store.get([*kept, "missing"]) == kept


def test_the_last_outcome_of_a_key_counts(store: OutcomeStore) -> None:
    store.put({"a": RIGHT})
    store.put({"a": ABSTAINED})
    assert store.get(["a"]) == {"a": ABSTAINED}


def test_hits_count_the_outcomes_that_were_found(store: OutcomeStore) -> None:
    store.put({"a": RIGHT, "b": RIGHT})
    assert store.hits == 0
    store.get(["a", "b", "c"])
    store.get(["a"])
    assert store.hits == 3


def test_who_asks_for_nothing_opens_nothing(store: OutcomeStore, path: Path) -> None:
    store.get([])
    store.put({})
    assert store.claim([], 3) == []
    assert store.claim(["a"], 0) == []
    store.release(["a"])
    store.close()
    assert not path.parent.exists()


def test_a_store_is_shared_only_when_it_is_told_so(path: Path) -> None:
    assert not OutcomeStore(path).shared
    assert OutcomeStore(path, shared=True).shared


def test_a_closed_store_opens_again(store: OutcomeStore) -> None:
    store.put({"a": RIGHT})
    store.close()
    store.close()
    assert store.get(["a"]) == {"a": RIGHT}


def test_a_store_leaves_no_journal_behind(store: OutcomeStore, path: Path) -> None:
    store.put(outcomes(10))
    assert sorted(file.name for file in path.parent.iterdir()) == ["outcomes.db", "outcomes.db-owners"]


# Forgetting


@pytest.mark.parametrize("prefix", ["b/", "%", "_", "é", "zz", "a/1"])
def test_what_is_forgotten_starts_with_the_prefix(store: OutcomeStore, prefix: str) -> None:
    keys = ["a/1", "a/10", "a/2", "b", "b/1", "b/é", "b/\U0010ffff", "c%", "%c", "_c", "é1", "e1"]
    store.put(dict.fromkeys(keys, RIGHT))
    store.forget(prefix)
    assert sorted(store.get(keys)) == sorted(key for key in keys if not key.startswith(prefix))


def test_claims_are_forgotten_too(store: OutcomeStore, another: Callable[[], Process]) -> None:
    assert store.claim(["a/1", "b/1"], 2) == ["a/1", "b/1"]
    store.forget("a/")
    assert another().ask("store.claim(['a/1', 'b/1'], 2)") == ["a/1"]


def test_a_cleared_store_is_empty_and_gives_its_room_back(store: OutcomeStore, path: Path) -> None:
    kept = outcomes(2000)
    store.put(kept)
    store.claim(["a"], 1)
    full = path.stat().st_size
    store.clear()
    assert store.get(kept) == {}
    assert path.stat().st_size < full / 10


# Pruning


def test_the_entries_unused_for_longest_are_pruned_on_close(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five days with two entries each; the first two are used again on day 6, then two more make twelve of ten."""
    keys = [f"{number:02}" for number in range(12)]
    for day in range(1, 7):
        monkeypatch.setattr(cache.time, "time", lambda day=day: day * 86_400.0)
        store = OutcomeStore(path, limit=10)
        if day == 6:
            assert set(store.get(keys[:2])) == set(keys[:2])
        store.put(dict.fromkeys(keys[2 * day - 2 : 2 * day], RIGHT))
        store.close()
    # Nine are kept; of the days 2 to 6, day 2 goes whole and day 3 by one.
    left = set(OutcomeStore(path).get(keys))
    assert len(left) == 9
    assert left >= {*keys[:2], *keys[6:]}
    assert not left & set(keys[2:4])


def test_a_store_at_its_limit_is_not_pruned(path: Path) -> None:
    kept = outcomes(10)
    store = OutcomeStore(path, limit=10)
    store.put(kept)
    store.close()
    assert store.get(kept) == kept
    assert LIMIT == 1_000_000


def test_what_a_run_has_used_is_kept_whatever_the_limit_and_however_long_it_takes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_day(day: int) -> None:
        monkeypatch.setattr(cache.time, "time", lambda: day * 86_400.0)

    kept = outcomes(65)
    old, first, second = (dict(list(kept.items())[part]) for part in (slice(5), slice(5, 35), slice(35, 65)))
    on_day(1)
    keep(path, old)
    on_day(2)
    store = OutcomeStore(path, limit=10)
    store.put(first)
    on_day(3)
    store.put(second)
    store.close()
    assert store.get({**first, **second}) == {**first, **second}
    assert store.get(old) == {}
    # Of the runs of another day, those used last are left.
    on_day(4)
    later = OutcomeStore(path, limit=10)
    last = "model/stress/64"
    later.get([last])
    later.close()
    assert len(left := later.get({**first, **second})) == 9
    assert last in left


def test_an_outcome_used_again_on_the_same_day_is_found_while_another_process_writes(path: Path) -> None:
    """Nothing is to be written for it, so nothing is to be waited for."""
    keep(path, {"a": RIGHT})
    store = OutcomeStore(path, timeout=0.05)
    assert store.get(["a"]) == {"a": RIGHT}
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    assert store.get(["a"]) == {"a": RIGHT}
    db.close()
    store.close()


# Claims


def test_a_process_claims_the_first_keys_that_are_not_stored(store: OutcomeStore) -> None:
    store.put({"b": RIGHT, "d": RIGHT})
    assert store.claim(["e", "b", "a", "a", "d", "c"], 2) == ["e", "a"]
    assert store.claim(["e", "b", "a", "a", "d", "c"], 9) == ["e", "a", "c"]


def test_many_keys_are_claimed_in_their_order(store: OutcomeStore) -> None:
    keys = [str(number) for number in range(2500)]
    store.put(dict.fromkeys(keys[:1500], RIGHT))
    assert store.claim(keys, 600) == keys[1500:2100]


def test_a_claim_holds_against_other_processes_until_it_is_settled(
    store: OutcomeStore, another: Callable[[], Process]
) -> None:
    other = another()
    keys = ["a", "b", "c"]
    assert other.ask("store.claim(['a', 'b'], 2)") == ["a", "b"]
    assert store.claim(keys, 3) == ["c"]
    store.release(keys)
    assert other.ask("store.claim(['a', 'b', 'c'], 3)") == keys
    other.ask("store.release(['a'])")
    other.ask("store.put({'b': outcome('b')})")
    assert store.claim(keys, 3) == ["a"]
    store.put({"c": RIGHT})
    assert other.ask("store.claim(['a', 'b', 'c'], 3)") == []
    store.put({"a": RIGHT})
    assert other.ask("sorted(store.get(['a', 'b', 'c']))") == keys


def test_an_outcome_that_is_damaged_after_it_was_put_can_be_claimed_by_any_process(
    store: OutcomeStore, path: Path, another: Callable[[], Process], told: list[str]
) -> None:
    other = another()
    other.ask("store.claim(['a'], 1)")
    other.ask("store.put({'a': outcome('a')})")
    change(path, "UPDATE outcomes SET checksum = x'00'")
    assert store.get(["a"]) == {}
    told.append(DAMAGED.format(path=path.as_posix(), n=1))
    assert store.claim(["a"], 1) == ["a"]


def test_a_store_that_closes_gives_up_its_claims(store: OutcomeStore, another: Callable[[], Process]) -> None:
    other = another()
    assert other.ask("store.claim(['a'], 1)") == ["a"]
    assert store.claim(["a"], 1) == []
    other.ask("store.close()")
    assert store.claim(["a"], 1) == ["a"]


@posix
def test_the_claims_of_a_killed_process_are_free_even_before_its_parent_has_waited_for_it(
    store: OutcomeStore, another: Callable[[], Process]
) -> None:
    other = another()
    assert other.ask("store.claim(['a', 'b'], 2)") == ["a", "b"]
    assert store.claim(["a", "b", "c"], 3) == ["c"]
    other.process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, other.process.pid, os.WEXITED | os.WNOWAIT)
    assert store.claim(["a", "b", "c"], 3) == ["a", "b", "c"]


def test_no_key_is_claimed_by_two_processes(store: OutcomeStore, another: Callable[[], Process]) -> None:
    """Three processes at once, some hundred claims each; what they claimed together is each key once."""
    keys = [f"key {number}" for number in range(600)]
    code = """
mine = []
while claimed := store.claim([key for key in keys if key not in mine], 1 + len(mine) % 3):
    mine += claimed
    assert store.get(claimed) == {}
    time.sleep(0.001)
    store.put({key: outcome(key) for key in claimed})
say(mine)
"""
    processes = [another() for _ in range(3)]
    for process in processes:
        process.begin(f"keys = {keys!r}")
        process.ask("store.get(['nothing'])")
    for process in processes:
        process.begin(code)
    claimed = [process.answer() for process in processes]
    assert sum(map(bool, claimed)) >= 2, "one process did it all"
    assert sorted(key for mine in claimed for key in mine) == sorted(keys)
    assert len(store.get(keys)) == 600


# Processes that fork or die


@posix
def test_a_forked_child_has_a_connection_and_claims_of_its_own(path: Path) -> None:
    done = run(
        """
store.put({"a": outcome("a")})
assert store.claim(["mine", "free"], 1) == ["mine"]
child = os.fork()
if not child:
    store.release(["mine"])
    ok = store.claim(["mine", "free"], 2) == ["free"] and list(store.get(["a"])) == ["a"]
    store.put({"b": outcome("b")})
    store.close()
    store.get(["a"])
    os._exit(0 if ok else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert list(store.get(["b"])) == ["b"]
assert store.claim(["mine", "free"], 2) == ["mine", "free"]
say(True)
""",
        path,
    )
    assert (done.stdout, done.stderr) == ("true\n", "")


@posix
@pytest.mark.parametrize("moment", ["INSERT number 9000", "COMMIT number 2"])
def test_a_process_killed_while_putting_leaves_what_it_put_before(store: OutcomeStore, path: Path, moment: str) -> None:
    """Killed when part of the second put is in the file already, as the journal that it leaves shows."""
    word, _, number = moment.split()
    done = run(
        f"""
import sqlite3
connect, seen = sqlite3.connect, 0

def watch(statement):
    global seen
    if watching and statement.startswith({word!r}):
        seen += 1
        if seen == {number}:
            os.kill(os.getpid(), signal.SIGKILL)

def connect_and_watch(*args, **kwargs):
    db = connect(*args, **kwargs)
    db.set_trace_callback(watch)
    return db

sqlite3.connect = connect_and_watch
watching = False
store.get(["open"])
watching = True
store.put({{f"first {{n}}": outcome(str(n)) for n in range(1000)}})
say(True)
store.put({{f"second {{n}}": outcome(str(n)) for n in range(12_000)}})
say(False)
""",
        path,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "true\n")
    assert path.with_name("outcomes.db-journal").stat().st_size > 0
    assert len(store.get(f"first {n}" for n in range(1000))) == 1000
    assert store.get(f"second {n}" for n in range(12_000)) == {}
    store.put({"third": RIGHT})
    assert store.get(["third"]) == {"third": RIGHT}


# Damage


@pytest.mark.parametrize(
    "change_row",
    [
        "payload = replace(payload, 'zebra', 'tiger')",
        "payload = substr(payload, 1, 20)",
        "payload = x'ff00'",
        "payload = 7",
        "payload = NULL",
        "checksum = x'00'",
        "checksum = NULL",
        "(payload, checksum) = (SELECT payload, checksum FROM outcomes WHERE key = CAST('b' AS BLOB))",
    ],
)
def test_a_damaged_row_is_dropped_and_counts_as_missing(path: Path, told: list[str], change_row: str) -> None:
    keep(path, {"a": RIGHT, "b": ABSTAINED})
    change(path, f"UPDATE outcomes SET {change_row} WHERE key = CAST('a' AS BLOB)")
    store = OutcomeStore(path)
    assert store.get(["a", "b"]) == {"b": ABSTAINED}
    assert store.hits == 1
    told.append(DAMAGED.format(path=path.as_posix(), n=1))
    assert store.get(["a"]) == {}
    assert store.claim(["a", "b"], 2) == ["a"]
    store.put({"a": RIGHT})
    assert store.get(["a"]) == {"a": RIGHT}
    store.close()


@pytest.mark.parametrize(
    "payload",
    ["not JSON", "7", "{}", '["a.png",[],null,true,0.5,0.5,[]]', '["a.png",[],null,true,0.5,0.5,[],[],"more"]'],
    ids=repr,
)
def test_a_row_that_holds_something_else_is_dropped_though_its_checksum_is_right(
    path: Path, told: list[str], payload: str
) -> None:
    keep(path, {"a": RIGHT, "b": ABSTAINED})
    checksum = cache._checksum(b"a", payload.encode())
    change(path, "UPDATE outcomes SET payload = ?, checksum = ? WHERE key = ?", payload.encode(), checksum, b"a")
    store = OutcomeStore(path)
    assert store.get(["a", "b"]) == {"b": ABSTAINED}
    store.close()
    told.append(DAMAGED.format(path=path.as_posix(), n=1))


def test_a_row_whose_last_use_is_damaged_is_as_good_as_before(path: Path) -> None:
    keep(path, {"a": RIGHT})
    change(path, "UPDATE outcomes SET used = 'never'")
    store = OutcomeStore(path)
    assert store.get(["a"]) == {"a": RIGHT}
    store.close()


def test_a_session_is_told_of_damage_once(path: Path, told: list[str]) -> None:
    kept = outcomes(9)
    keep(path, kept)
    change(path, "UPDATE outcomes SET checksum = x'00'")
    store = OutcomeStore(path)
    keys = list(kept)
    assert store.get(keys[:4]) == {}
    assert store.get(keys[4:]) == {}
    store.close()
    told.append(DAMAGED.format(path=path.as_posix(), n=4))


def text_file(path: Path) -> None:
    path.write_text("These are my notes.\n" * 1000, encoding="utf-8")


def short_text_file(path: Path) -> None:
    path.write_text("notes", encoding="utf-8")


def half_of_a_store(path: Path) -> None:
    keep(path, outcomes(500))
    os.truncate(path, path.stat().st_size // 2 + 100)


def store_without_its_first_page(path: Path) -> None:
    keep(path, outcomes(500))
    with path.open("r+b") as file:
        file.write(bytes(4096))


def store_of_another_version(path: Path) -> None:
    keep(path, outcomes(5))
    change(path, "PRAGMA user_version = 7")


def store_with_another_table(path: Path) -> None:
    keep(path, outcomes(5))
    change(path, "CREATE TABLE birds (name TEXT)")


def database_of_somebody_else(path: Path) -> None:
    change(path, "CREATE TABLE birds (name TEXT)")


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (text_file, "file is not a database"),
        (short_text_file, "file is not a database"),
        (half_of_a_store, "database disk image is malformed"),
        (store_without_its_first_page, "file is not a database"),
        (store_of_another_version, "another version"),
        (store_with_another_table, "another version"),
        (database_of_somebody_else, "another version"),
    ],
)
def test_a_file_that_is_no_sound_store_is_replaced(
    path: Path, told: list[str], make: Callable[[Path], None], cause: str
) -> None:
    path.parent.mkdir()
    make(path)
    # What SQLite might play into a new file.
    for suffix in ("journal", "wal", "shm"):
        path.with_name(f"outcomes.db-{suffix}").write_bytes(b"left by somebody")
    store = OutcomeStore(path)
    kept = outcomes(500)
    assert store.get(kept) == {}
    told.append(REPLACED.format(path=path.as_posix(), cause=cause))
    store.put(kept)
    store.close()
    assert store.get(kept) == kept
    store.close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["outcomes.db", "outcomes.db-owners"]


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    keep(path, {"a": RIGHT})
    assert OutcomeStore(path).get(["a"]) == {"a": RIGHT}


def test_a_file_that_breaks_while_it_is_used_is_replaced(path: Path, told: list[str]) -> None:
    kept = outcomes(500)
    keep(path, kept)
    store = OutcomeStore(path)
    store.get(["a"])
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    # A page that this process has read is in its memory; SQLite reads it again after another's change.
    change(path, "PRAGMA user_version = 7")
    change(path, f"PRAGMA user_version = {cache._VERSION}")
    store.put(kept)
    told.append(REPLACED.format(path=path.as_posix(), cause="database disk image is malformed"))
    assert store.get(kept) == kept
    store.close()


def test_a_store_follows_when_another_process_has_replaced_the_file(
    store: OutcomeStore, path: Path, another: Callable[[], Process]
) -> None:
    store.put({"a": RIGHT})
    path.unlink()
    other = another()
    other.ask("store.put({'b': outcome('b')})")
    store.put({"c": RIGHT})
    assert set(store.get(["a", "b", "c"])) == {"b", "c"}


def test_processes_that_find_the_same_broken_file_share_one_new_one(path: Path, another: Callable[[], Process]) -> None:
    processes = [another() for _ in range(3)]
    for process in processes:
        process.ask("'ready'")
    for _ in range(5):
        path.parent.mkdir(exist_ok=True)
        path.write_text("not a database", encoding="utf-8")
        for process in processes:
            process.begin("say(store.claim(['a', 'b', 'c'], 1))")
        assert sorted(process.answer() for process in processes) == [["a"], ["b"], ["c"]]
        for process in processes:
            process.ask("store.close()")


def test_no_damaged_byte_gives_a_wrong_outcome_or_keeps_a_right_one_from_being_kept(path: Path) -> None:
    """Sixty runs, each on a file with a few bytes changed anywhere, do what an engine does: get, claim, compute, put.

    All that is found is what was put; what is not found can be claimed; the third look finds everything.
    """
    numbers = random.Random(1)
    kept = outcomes(60)
    keep(path, kept)
    sound = path.read_bytes()
    for _ in range(60):
        damaged = bytearray(sound)
        for _ in range(numbers.choice([1, 10, 100])):
            damaged[numbers.randrange(len(damaged))] = numbers.randrange(256)
        path.write_bytes(damaged)
        store = OutcomeStore(path)
        with warnings.catch_warnings(record=True) as caught:
            for _ in range(2):
                found = store.get(kept)
                assert found.items() <= kept.items()
                missing = [key for key in kept if key not in found]
                assert store.claim(missing, 60) == missing
                store.put({key: kept[key] for key in missing})
            assert store.get(kept) == kept
        assert len(caught) <= 1
        store.close()


# A file that can't be used at all


def assert_off(store: OutcomeStore) -> None:
    """It does nothing, and grants every claim."""
    store.put({"a": RIGHT, "b": RIGHT})
    assert store.get(["a", "b"]) == {}
    assert store.claim(["c", "a", "a", "b"], 2) == ["c", "a"]
    store.release(["c"])
    store.forget("a")
    store.clear()
    store.close()
    assert store.hits == 0


def test_a_directory_in_the_place_of_the_file_turns_the_store_off(path: Path, told: list[str]) -> None:
    path.mkdir(parents=True)
    assert_off(OutcomeStore(path))
    told.append(OFF.format(path=path.as_posix(), cause="unable to open database file"))


def test_a_file_in_the_place_of_the_directory_turns_the_store_off(path: Path, told: list[str]) -> None:
    path.parent.write_text("a file", encoding="utf-8")
    assert_off(OutcomeStore(path))
    told.append(OFF.format(path=path.as_posix(), cause="File exists"))


@posix
def test_a_read_only_directory_turns_the_store_off(path: Path, told: list[str]) -> None:
    keep(path, {"a": RIGHT})
    path.with_name("outcomes.db-owners").unlink()
    path.parent.chmod(0o500)
    try:
        if os.access(path.parent, os.W_OK):
            pytest.skip("who runs this may write everywhere")
        assert_off(OutcomeStore(path))
    finally:
        path.parent.chmod(0o700)
    told.append(OFF.format(path=path.as_posix(), cause="Permission denied"))


def test_a_read_only_database_turns_the_store_off(path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As SQLite has it, whoever runs this: found is what is there, until something has to be written."""
    keep(path, {"b": RIGHT})
    connect = sqlite3.connect
    monkeypatch.setattr(
        cache.sqlite3, "connect", lambda path, **settings: connect(f"file:{path}?mode=ro", uri=True, **settings)
    )
    assert_off(OutcomeStore(path))
    told.append(OFF.format(path=path.as_posix(), cause="attempt to write a readonly database"))


@posix
def test_a_full_disk_turns_the_store_off(path: Path) -> None:
    """A real one: the process may not write files of more than 100 kB."""
    done = run(
        """
import resource, warnings
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
store.put({"before": outcome("before")})
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    store.put({str(n): outcome(str(n)) for n in range(5000)})
    store.put({"after": outcome("after")})
say([str(warning.message) for warning in caught])
say([list(store.get(["before", "after"])), store.claim(["before", "after"], 1)])
""",
        path,
    )
    message, answers = map(json.loads, done.stdout.splitlines())
    assert message == [OFF.format(path=path.as_posix(), cause="disk I/O error")]
    assert answers == [[], ["before"]]
    assert done.stderr == ""
    assert list(OutcomeStore(path).get(["before", "after"])) == ["before"]


def test_a_file_that_stays_locked_turns_the_store_off(path: Path, told: list[str]) -> None:
    keep(path, {"a": RIGHT})
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    assert_off(OutcomeStore(path, timeout=0.05))
    db.close()
    told.append(OFF.format(path=path.as_posix(), cause="database is locked"))


def test_a_process_that_does_not_finish_opening_turns_the_store_off(
    path: Path, told: list[str], another: Callable[[], Process]
) -> None:
    keep(path, {"a": RIGHT})
    other = another()
    other.begin("from pytest_robustness.cache import _File")
    other.begin("file = _File(Path(sys.argv[1]), 1.0)")
    other.begin("alone = file.alone()")
    other.ask("alone.__enter__()")
    assert_off(OutcomeStore(path, timeout=0.05))
    told.append(OFF.format(path=path.as_posix(), cause="another process does not finish opening it"))


def test_a_lock_file_that_does_not_work_turns_the_store_off(
    path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on network file systems without locks."""

    def no_locks(*_: object) -> bool:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(cache, "_set_lock", no_locks)
    assert_off(OutcomeStore(path))
    told.append(OFF.format(path=path.as_posix(), cause="No locks available"))


def test_a_warning_can_be_filtered_and_expected_as_any_other(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.warns(CacheWarning) as caught:
        OutcomeStore(path).get(["a"])
    assert [str(warning.message) for warning in caught] == [
        OFF.format(path=path.as_posix(), cause="unable to open database file")
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheWarning)
        assert OutcomeStore(path).get(["a"]) == {}
