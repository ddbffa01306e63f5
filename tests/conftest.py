"""What all tests share."""

import os

import torch

# the same bits on every machine, and no fight over cores between parallel test processes
torch.set_num_threads(1)
os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # once it runs, torch has as many threads as Numba
