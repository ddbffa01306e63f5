"""Representations that new cells can be projected to and that decode back to features."""
