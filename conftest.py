"""Settings of the whole test suite."""

import os
import sys

# Two cores serve the suite and its xdist workers; threads on top only make it slower. Also in the processes that
# tests start: results name the number.
os.environ["OMP_NUM_THREADS"] = "1"
# Those processes would compile this package anew each time, and pytest rewrite its assertions.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# First of all, in this order: in-process pytester runs with torch crash without it.
import numpy  # noqa: F401
import scipy.special  # noqa: F401
import torch

pytest_plugins = ["pytester"]

torch.set_num_threads(1)
# In this process, a module that a test writes twice within a second would else be the first one.
sys.dont_write_bytecode = True
