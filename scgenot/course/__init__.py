"""The way of a population through time: NumPy only."""
