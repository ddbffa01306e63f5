"""How a population moves through time: arrays of NumPy and SciPy only."""
