"""A fit beside trivial baselines and the ceiling."""

from scgenot.fit.evaluation.evaluate import evaluation_table

__all__ = ["evaluation_table"]
