"""A fit beside trivial baselines and the ceiling."""
