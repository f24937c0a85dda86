"""Outcomes kept on disk: between runs, and between the workers of one run, so that no image is evaluated twice.

A cache is never worth a test: whatever is wrong with its files costs one warning and the time to compute again.
"""

import contextlib
import dataclasses
import hashlib
import json
import operator
import os
import secrets
import sqlite3
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pytest_robustness.records import Outcome, path_text

__all__ = ["LIMIT", "CacheWarning", "OutcomeStore"]

LIMIT = 1_000_000
"""How many outcomes a store keeps of earlier days, at some 400 bytes each."""

_T = TypeVar("_T")

# Bytes, not text: the key of a file name that is no Unicode is one too, and damage is never an error of decoding.
_TABLES = (
    "CREATE TABLE outcomes (key BLOB PRIMARY KEY, payload BLOB, checksum BLOB, used INTEGER)",
    "CREATE TABLE claims (key BLOB PRIMARY KEY, owner INTEGER)",
)
_FIELDS = tuple(field.name for field in dataclasses.fields(Outcome))
# Other tables or fields are another version by themselves.
_VERSION = int.from_bytes(hashlib.sha256(repr((_TABLES, _FIELDS)).encode()).digest()[:4], "big") >> 1
# Old builds of SQLite allow 999 variables in a query, and a claim has two for each key.
_CHUNK = 400

_values = operator.attrgetter(*_FIELDS)
_json = json.JSONEncoder(separators=(",", ":")).encode


class CacheWarning(UserWarning):
    """Outcomes on disk could not be used or kept; they are computed instead, and no verdict depends on it."""


class OutcomeStore:
    """Outcomes by key in one file, which any number of processes may use at a time, each with one store in one thread.

    `shared` tells the store's user that other processes of the same run work on the same keys: claim, then compute.
    `hits` counts the outcomes that `get` found. Above `limit` entries, `close` drops those unused for longest, but none that was
    used today, or since the store was made: what a run that is larger than that was killed over, the next one still finds.

    Nothing here raises because of the file. Damaged outcomes, and a file that is no store of this version, are
    discarded. Where that is no help (a full disk, no permission, a file locked for `timeout` seconds), the store
    turns itself off: it then finds nothing, keeps nothing, and grants every claim. Each is told by one CacheWarning,
    which stays a warning where the user's filters turn warnings into errors.
    """

    def __init__(self, path: Path, *, shared: bool = False, limit: int = LIMIT, timeout: float = 30.0) -> None:
        self.shared = shared
        self.hits = 0
        self._path = path
        self._limit = limit
        self._timeout = timeout
        self._since = _today()
        self._file: _File | None = None
        self._inherited: list[_File] = []
        self._told = False
        self._off = False

    def get(self, keys: Iterable[str]) -> dict[str, Outcome]:
        """The outcomes of those keys that are there."""
        wanted = {_bytes(key): key for key in keys}
        nothing: tuple[dict[str, Outcome], int] = ({}, 0)
        found, damaged = self._safely(lambda file: _found(file, wanted), nothing) if wanted else nothing
        self.hits += len(found)
        if damaged:
            self._warn_of_damage(f"expected outcomes as they were kept, got {damaged} damaged")
        return found

    def put(self, outcomes: Mapping[str, Outcome]) -> None:
        """Keep all of them or, where the process is killed meanwhile, none; claims on their keys are settled."""
        today = _today()
        rows = [(*_row(_bytes(key), outcome), today) for key, outcome in outcomes.items()]
        self._change(
            ("INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?)", rows),
            ("DELETE FROM claims WHERE key = ?", [row[:1] for row in rows]),
        )

    def claim(self, keys: Sequence[str], limit: int) -> list[str]:
        """The first `limit` of these keys that are neither stored nor claimed by a living other process.

        They are this process's now, until `put`, `release`, `close` or its death; what it claimed before is its own.
        """
        wanted = {_bytes(key): key for key in keys}
        if not wanted or limit < 1:
            return []
        claimed = self._safely(lambda file: _claimed(file, list(wanted), limit), list(wanted)[:limit])
        return [wanted[key] for key in claimed]

    def release(self, keys: Iterable[str]) -> None:
        """Give up this process's claims on these keys: others may compute them."""
        # Else nothing is open, or only what the parent opened, and nothing claimed.
        if self._file is not None and self._file.pid == os.getpid():
            rows = [(_bytes(key), self._file.owner) for key in keys]
            self._change(("DELETE FROM claims WHERE key = ? AND owner = ?", rows))

    def forget(self, prefix: str) -> None:
        """Drop the outcomes and claims, whoever's, of all keys that start with `prefix`."""
        # UTF-8 has no byte 0xff: it comes after whatever may follow the prefix.
        bounds = [(_bytes(prefix), _bytes(prefix) + b"\xff")]
        self._change(
            ("DELETE FROM outcomes WHERE key >= ? AND key < ?", bounds),
            ("DELETE FROM claims WHERE key >= ? AND key < ?", bounds),
        )

    def clear(self) -> None:
        """Drop all outcomes and claims, and give back their room on the disk."""
        self.forget("")
        self._safely(lambda file: file.db.execute("VACUUM"), None)

    def close(self) -> None:
        """Let go of the file and of all claims, and keep it within the limit; a later call opens it again."""
        if self._file is not None and self._file.pid == os.getpid():
            since = min(self._since, _today())
            self._safely(lambda file: _prune(file.db, self._limit, since), None)
        self._let_go()

    def _change(self, *statements: tuple[str, Sequence[tuple[Any, ...]]]) -> None:
        def work(file: _File) -> None:
            with _transaction(file.db):
                for statement, rows in statements:
                    file.db.executemany(statement, rows)

        if any(rows for _, rows in statements):
            self._safely(work, None)

    def _safely(self, work: "Callable[[_File], _T]", otherwise: _T) -> _T:
        """What `work` returns; where the file is damaged, that of a second try on a sound one; else `otherwise`."""
        for suspect in (False, True):
            if self._off:
                break
            try:
                return work(self._opened(suspect=suspect))
            # Not SQLite's errors alone: a damaged page may hold anything where a number was.
            except Exception as error:
                self._let_go()
                if suspect or not _is_damage(error):
                    self._off = True
                    self._warn(
                        f"expected a file to keep outcomes in, got an error ({_cause(error)}); "
                        "this run goes on without; check the disk and its permissions"
                    )
        return otherwise

    def _opened(self, *, suspect: bool) -> "_File":
        if self._file is not None and self._file.pid != os.getpid():
            self._let_go()
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = _File(self._path, self._timeout)
            try:
                with file.alone():
                    self._connect(file, suspect=suspect)
            except BaseException:
                file.close()
                raise
            self._file = file
        return self._file

    def _connect(self, file: "_File", *, suspect: bool) -> None:
        """Connect to the file as it is or, where it is damaged, to a new one in its place; called alone."""
        try:
            file.connect(suspect=suspect)
        except Exception as error:
            if not _is_damage(error):
                raise
            file.db.close()
            # A journal beside it is gone already: SQLite plays it back before it finds the damage.
            self._path.unlink(missing_ok=True)
            file.connect(suspect=False)
            self._warn_of_damage(f"expected a store of outcomes of this version, got something else ({_cause(error)})")

    def _let_go(self) -> None:
        file, self._file = self._file, None
        if file is not None and file.pid != os.getpid():
            # A child must not even close what its parent opened: https://sqlite.org/howtocorrupt.html, 2.7.
            self._inherited.append(file)
        elif file is not None:
            file.close()

    def _warn_of_damage(self, text: str) -> None:
        if not self._told:
            self._told = True
            self._warn(f"{text}; what can't be used is dropped and computed again")

    def _warn(self, text: str) -> None:
        message = CacheWarning(f"{path_text(self._path)}: {text}")
        try:
            warnings.warn(message, stacklevel=2)
        except CacheWarning:
            # The user's filters make errors of warnings, but a cache must not fail a test.
            with warnings.catch_warnings():
                warnings.simplefilter("always", CacheWarning)
                warnings.warn(message, stacklevel=2)


class _File:
    """The file as one process has it open: a connection, and the number under which the process claims.

    The owner of a claim lives as long as the byte of its number is locked in a file beside the database. The system
    lifts the lock when the process ends, however it ends: no process id is mistaken for another's, and a killed
    worker is dead at once, though nobody has waited for it. A forked child does not inherit it, and SQLite needs such
    locks itself. (On POSIX, a process with two stores on one file loses the locks of both with the first to close: an
    image may then be evaluated twice, no worse.) Byte 0 is for who opens or replaces the database.
    """

    db: sqlite3.Connection

    def __init__(self, path: Path, timeout: float) -> None:
        self.pid = os.getpid()
        # As far as a lock reaches on Windows.
        self.owner = 1 + secrets.randbelow(2**31 - 1)
        self._path = path
        self._timeout = timeout
        self._checked = False
        self._locks = os.open(path.with_name(f"{path.name}-owners"), os.O_RDWR | os.O_CREAT, 0o666)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """While this is open, no other process is in here; TimeoutError where one doesn't leave in time."""
        deadline = time.monotonic() + self._timeout
        while not _set_lock(self._locks, 0, True):
            if time.monotonic() > deadline:
                raise TimeoutError("another process does not finish opening it")
            time.sleep(0.005)
        try:
            yield
        finally:
            _set_lock(self._locks, 0, False)

    def connect(self, *, suspect: bool) -> None:
        """Connect to the store, made where there is none; one error or another where it is not sound. Called alone."""
        self.db = db = sqlite3.connect(self._path, timeout=self._timeout, isolation_level=None)
        db.text_factory = bytes
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (tables,) = db.execute("SELECT group_concat(sql, ';') FROM sqlite_master").fetchone()
        if (version, tables) not in ((0, None), (_VERSION, ";".join(_TABLES).encode())):
            raise sqlite3.DatabaseError("another version")
        if suspect:
            self.check()
        # A cache may go with the power: checksums tell. What a killed process wrote, the system has.
        db.execute("PRAGMA synchronous = OFF")
        # Not a write-ahead log: with a rollback journal an idle connection has no locks and no shared memory, so a
        # forked child can open its own and network file systems will do. Of a killed writer the journal stays, and
        # who opens the file next rolls back. Readers wait for writers, but a batch is written in a millisecond.
        db.execute("PRAGMA journal_mode = DELETE")
        if version != _VERSION:
            with _transaction(db):
                for statement in (*_TABLES, f"PRAGMA user_version = {_VERSION}"):
                    db.execute(statement)
        _set_lock(self._locks, self.owner, True)

    def check(self) -> None:
        """Read the file through, once; an error where it is not sound."""
        if not self._checked and self.db.execute("PRAGMA integrity_check(1)").fetchone() != (b"ok",):
            raise sqlite3.DatabaseError("database disk image is malformed")
        self._checked = True

    def is_alive(self, owner: int) -> bool:
        """Whether another process claims under this number; to be asked in a transaction, where nobody else asks."""
        if not _set_lock(self._locks, owner, True):
            return True
        _set_lock(self._locks, owner, False)
        return False

    def close(self) -> None:
        """End all claims, and the connection if there is one."""
        with contextlib.suppress(AttributeError, sqlite3.Error):
            self.db.close()
        with contextlib.suppress(OSError):
            os.close(self._locks)


def _set_lock(file: int, place: int, locked: bool) -> bool:
    """Lock a byte, or unlock it; False where another process has it locked."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(file, place, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_NBLCK if locked else msvcrt.LK_UNLCK, 1)
        else:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB if locked else fcntl.LOCK_UN, 1, place)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _is_damage(error: Exception) -> bool:
    """Whether another file helps: a new one or, where this one was moved, that which another process has put there."""
    # A malformed file, none of SQLite's, and one of another version are a DatabaseError itself, the rest a subclass.
    # What can't be decoded is SQLite's message about a damaged name. On a sound file no statement of ours is an error.
    codes = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_READONLY_DBMOVED)
    return type(error) in (sqlite3.DatabaseError, UnicodeDecodeError) or getattr(error, "sqlite_errorcode", 0) in codes


def _cause(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commits at the end, rolls back on an error; no other process writes meanwhile."""
    with db:
        # At once: a transaction that begins by reading can't wait for another that writes.
        db.execute("BEGIN IMMEDIATE")
        yield


def _found(file: _File, wanted: Mapping[bytes, str]) -> tuple[dict[str, Outcome], int]:
    """The outcomes that are there, and how many were damaged, which are deleted."""
    found: dict[str, Outcome] = {}
    damaged, unused, today = [], [], _today()
    for chunk, marks in _chunks(list(wanted)):
        rows = file.db.execute(f"SELECT key, payload, checksum, used FROM outcomes WHERE key IN ({marks})", chunk)
        for key, payload, checksum, used in rows:
            try:
                found[wanted[key]] = _outcome(key, payload, checksum)
            except (TypeError, ValueError):
                damaged.append((key,))
            else:
                if used != today:
                    unused.append((today, key))
    if damaged:
        # Alone, a damaged row can be deleted; where the tree is damaged too, deleting makes it worse.
        file.check()
    if damaged or unused:
        with _transaction(file.db):
            file.db.executemany("DELETE FROM outcomes WHERE key = ?", damaged)
            file.db.executemany("UPDATE outcomes SET used = ? WHERE key = ?", unused)
    return found, len(damaged)


def _claimed(file: _File, keys: Sequence[bytes], limit: int) -> list[bytes]:
    claimed: list[bytes] = []
    with _transaction(file.db):
        others = file.db.execute("SELECT DISTINCT owner FROM claims WHERE owner IS NOT ?", (file.owner,)).fetchall()
        dead = [other for other in others if not file.is_alive(*other)]
        file.db.executemany("DELETE FROM claims WHERE owner = ?", dead)
        for chunk, marks in _chunks(keys):
            query = (
                f"SELECT key FROM outcomes WHERE key IN ({marks}) UNION ALL "
                f"SELECT key FROM claims WHERE key IN ({marks}) AND owner IS NOT ?"
            )
            taken = {key for (key,) in file.db.execute(query, (*chunk, *chunk, file.owner))}
            claimed += [key for key in chunk if key not in taken][: limit - len(claimed)]
            if len(claimed) == limit:
                break
        file.db.executemany("INSERT OR REPLACE INTO claims VALUES (?, ?)", [(key, file.owner) for key in claimed])
    return claimed


def _prune(db: sqlite3.Connection, limit: int, since: int) -> None:
    (count,) = db.execute("SELECT count(*) FROM outcomes").fetchone()
    if count > limit:
        # A tenth more than there must be, or every run from here on would have to.
        dropped = count - limit * 9 // 10
        oldest = "SELECT key FROM outcomes WHERE used < ? ORDER BY used LIMIT ?"
        with _transaction(db):
            db.execute(f"DELETE FROM outcomes WHERE key IN ({oldest})", (since, dropped))


def _row(key: bytes, outcome: Outcome) -> tuple[bytes, bytes, bytes]:
    """Key, payload and checksum: the values of the fields in their order, as JSON; floats stay, bit for bit."""
    payload = _json(_values(outcome)).encode()
    return key, payload, _checksum(key, payload)


def _outcome(key: bytes, payload: bytes, checksum: bytes) -> Outcome:
    """The outcome that this row was made of; TypeError or ValueError where it was made of none."""
    if _checksum(key, payload) != checksum:
        raise ValueError("not as it was kept")
    values = json.loads(payload)
    if len(values) != len(_FIELDS):
        raise ValueError("not the fields of an outcome")
    return Outcome(*[_frozen(value) for value in values])


def _checksum(key: bytes, payload: bytes) -> bytes:
    return hashlib.blake2b(key + b"\0" + payload, digest_size=8).digest()


def _frozen(value: Any) -> Any:
    return tuple([_frozen(item) for item in value]) if type(value) is list else value


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


def _today() -> int:
    # As coarse as a day, the last use is seldom another, and finding seldom means writing.
    return int(time.time() // 86_400)


def _chunks(keys: Sequence[bytes]) -> Iterator[tuple[Sequence[bytes], str]]:
    """The keys in parts that a query can hold, with their question marks."""
    for start in range(0, len(keys), _CHUNK):
        chunk = keys[start : start + _CHUNK]
        yield chunk, ",".join("?" * len(chunk))
