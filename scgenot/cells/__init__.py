"""AnnData in, arrays out, and back; NumPy and pandas, never PyTorch."""
