"""What all tests share."""

import torch

# the same bits on every machine, and no fight over cores between parallel test processes
torch.set_num_threads(1)
