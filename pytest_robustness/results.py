"""All that a session came to, as one document: its verdicts, what they were measured on, and whether it finished."""

import json
from dataclasses import dataclass

from pytest_robustness.comparisons import Comparison
from pytest_robustness.errors import InputError
from pytest_robustness.records import Provenance, Verdict, from_builtin, to_builtin
from pytest_robustness.shards import Shard

__all__ = ["SCHEMA", "Results"]

SCHEMA = "pytest-robustness/2"


@dataclass(frozen=True)
class Results:
    """All verdicts of one session, in the order of the tests' node ids, with the provenances they refer to.

    `complete` is False when the session stopped early. `shard` is the share of the tests that it ran, None where it ran
    all of them. `profile` names what was asked of it beside its tests, as `release`. `comparison` is with the baseline, where there is one.
    """

    verdicts: tuple[Verdict, ...] = ()
    runs: tuple[Provenance, ...] = ()
    complete: bool = True
    shard: Shard | None = None
    profile: str = ""
    comparison: Comparison | None = None

    @property
    def failed(self) -> tuple[Verdict, ...]:
        """The verdicts that are not green and that no test expected; those that are `open` have not failed."""
        green = ("pass",) if self.shard is None else ("pass", "undecided")
        return tuple(v for v in self.verdicts if v.status not in green and not v.expected)

    @property
    def open(self) -> tuple[Verdict, ...]:
        """The verdicts of a shard that fall when it is merged with the others, and not before."""
        return () if self.shard is None else tuple(v for v in self.verdicts if v.status == "undecided")

    def to_json(self) -> str:
        """A versioned JSON document, the same bytes for the same self."""
        document = {
            "schema": SCHEMA,
            "complete": self.complete,
            "profile": self.profile,
            **({} if self.shard is None else {"shard": to_builtin(self.shard)}),
            **({} if self.comparison is None else {"comparison": to_builtin(self.comparison)}),
            "runs": {run.key: to_builtin(run) for run in self.runs},
            "verdicts": [to_builtin(verdict) for verdict in self.verdicts],
        }
        return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Results":
        """What `to_json` wrote, back as records.

        Raises InputError where the text is not such a document or is of another schema version.
        """
        try:
            document = json.loads(text)
        except ValueError as error:
            raise InputError(f"expected a results document as JSON, got something else ({error})") from None
        found = document.get("schema") if isinstance(document, dict) else None
        if found != SCHEMA:
            raise InputError(f"expected results of schema {SCHEMA!r}, got {found!r}; write them anew with this version")
        try:
            verdicts = tuple(from_builtin(Verdict, row) for row in document["verdicts"])
            runs = tuple(from_builtin(Provenance, run) for run in document["runs"].values())
            shard = from_builtin(Shard, document["shard"]) if "shard" in document else None
            comparison = from_builtin(Comparison, document["comparison"]) if "comparison" in document else None
            complete, profile = document["complete"], document["profile"]
            return cls(verdicts, runs, complete=complete, shard=shard, profile=profile, comparison=comparison)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"expected results as this version writes them, got others ({error}); write them anew"
            ) from None
