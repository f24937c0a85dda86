"""The first steps: files of a project that has none yet, and thresholds to start from."""

__all__: list[str] = []
