"""Settings of the whole test suite."""

# First of all, in this order: in-process pytester runs with torch crash without it.
import numpy  # noqa: F401
import scipy.special  # noqa: F401
import torch

pytest_plugins = ["pytester"]

# Two cores serve the suite and its xdist workers; threads on top only make it slower.
torch.set_num_threads(1)
