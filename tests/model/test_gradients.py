"""Which training steps may be recorded on a GPU; `tests/test_cuda.py` records them."""

import torch
from torch import nn

import scgenot as sg
from scgenot.model.gradients import can_record


class Own(nn.Module):
    """A field that a user wrote."""

    def __init__(self, source_dim, target_dim, condition_dim):
        super().__init__()
        self.linear = nn.Linear(source_dim + target_dim + 1, target_dim)

    def forward(self, t, z, source, condition=None):
        return self.linear(torch.cat([t[:, None], z, source], -1))


def test_only_known_modules_are_recorded():
    encoder = sg.flow.SetEncoder(n_slots=1, token_dim=3)
    assert can_record(sg.flow.VelocityField(3, 2))
    assert can_record(sg.flow.VelocityField(3, 2, encoder.in_dim, encoder=encoder))
    assert not can_record(Own(3, 2, 0))
