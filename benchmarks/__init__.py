"""Benchmarks: what the gates cost, against other libraries, a loop by hand, and what the model alone costs."""
