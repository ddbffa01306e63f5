"""Parameters as one vector: one operation updates all, where one for each takes longer."""

import torch
from torch import nn


def flattened(module: nn.Module) -> nn.Parameter:
    """Make the trained parameters of a module views of one vector, and return the vector.

    Their gradients are views of its gradient, which is to be set to zero and not to None.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    vector = nn.Parameter(nn.utils.parameters_to_vector(parameters).detach())
    nn.utils.vector_to_parameters(vector.data, parameters)
    vector.grad = torch.zeros_like(vector)
    for parameter, grad in zip(parameters, _views(vector.grad, parameters), strict=True):
        parameter.grad = grad
    return vector


def _views(vector: torch.Tensor, parameters: list[nn.Parameter]) -> list[torch.Tensor]:
    """Parts of a vector in the shapes of some parameters."""
    parts = vector.split([p.numel() for p in parameters])
    return [part.view_as(p) for part, p in zip(parts, parameters, strict=True)]
