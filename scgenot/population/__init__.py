"""Populations as objects: distances, means and paths between whole sets of cells."""
