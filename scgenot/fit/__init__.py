"""The fit: where arrays and cells meet."""
