"""Quadratic and fused couplings: the search, the descent, and the linearised cost."""
