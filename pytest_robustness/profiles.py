"""Profiles: what is asked of a run beside its tests, from a quick look while developing to the run that signs a release.

Nothing heavy is imported here, as in the plugin.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["PROFILES", "Profile", "chosen_profile"]


@dataclass(frozen=True)
class Profile:
    """How a run goes about its tests.

    Of the images of a test, or of a question of its own, at most so many `images` are looked at, None for all of them. Gates that name no confidence are judged at this one,
    None for the images themselves. `deterministic` has torch take its deterministic algorithms, and attacks search in float32;
    `cached` lets a run use the answers of runs before.
    """

    name: str
    images: int | None = None
    confidence: float | None = None
    deterministic: bool = False
    cached: bool = True

    @property
    def told(self) -> str:
        """What it does to the numbers, in words; empty where it does nothing."""
        parts = [f"at most {self.images} images of each test"] if self.images is not None else []
        parts += [f"judged at confidence {self.confidence:g}"] if self.confidence is not None else []
        parts += ["deterministic algorithms"] * self.deterministic
        return ", ".join(parts)

    def sample(self, ids: Sequence[str], seed: int) -> tuple[str, ...]:
        """Those of the images that are looked at, in the order that they have: all, or a sample by the seed.

        Which they are depends on nothing but the seed and the ids: a further image takes the place of one at most.
        """
        if self.images is None or len(ids) <= self.images:
            return tuple(ids)
        kept = set(sorted(ids, key=lambda own: _place(own, seed))[: self.images])
        return tuple(own for own in ids if own in kept)


PROFILES: Mapping[str, Profile] = {
    "dev": Profile("dev", images=32),
    "ci": Profile("ci"),
    "release": Profile("release", confidence=0.95, deterministic=True, cached=False),
}


def chosen_profile(option: str | None, ini: str, environment: Mapping[str, str]) -> str:
    """The name of the profile: what the command line says, else what the ini file does, else `ci`.

    Where the environment says that this is CI, as all services do by `CI`, the sample of `dev` that an ini file asks for is no
    reason to look at fewer images: it is `ci` there, unless the command line says so.
    """
    if option is not None:
        return option.strip()
    name = ini.strip() or "ci"
    return "ci" if name == "dev" and environment.get("CI", "") not in ("", "0", "false") else name


def _place(image_id: str, seed: int) -> bytes:
    # The name of a file need not be Unicode.
    return hashlib.sha256(f"sample {seed} {image_id}".encode("utf-8", "surrogatepass")).digest()
