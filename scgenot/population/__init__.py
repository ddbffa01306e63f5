"""Populations as objects: distances, means and paths between sets of cells."""
