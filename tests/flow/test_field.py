import pytest
import torch

from scgenot.flow import VelocityField, bind, straight_path, stratified_times


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def field():
    torch.manual_seed(0)
    field = VelocityField(3, 5, 2, width=16, depth=2)
    for (
        parameter
    ) in field.parameters():  # zero at the start: what comes before would get no gradient
        parameter.data += 0.1 * torch.randn_like(parameter)
    return field


@pytest.fixture
def inputs():
    return tuple(
        torch.randn(*shape, generator=generator(k))
        for k, shape in enumerate([(6,), (6, 5), (6, 3), (6, 2)])
    )


def test_a_gradient_reaches_every_parameter(field, inputs):
    field(*inputs).square().sum().backward()
    silent = [
        name for name, p in field.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ]
    assert not silent


def test_every_input_matters(field, inputs):
    inputs = [value.clone().requires_grad_() for value in inputs]
    field(*inputs).square().sum().backward()
    assert all((value.grad != 0).any() for value in inputs)


def test_points_do_not_see_each_other(field, inputs):
    together = field(*inputs)
    alone = torch.cat([field(*(value[k : k + 1] for value in inputs)) for k in range(6)])
    torch.testing.assert_close(together, alone)


def test_a_new_field_is_zero_and_its_network_silent(inputs):
    assert not VelocityField(3, 5, 2)(*inputs).any()


def test_bound_field_is_the_field(field, inputs):
    _, _, source, condition = inputs
    z, t = torch.randn(6, 4, 5, generator=generator()), torch.tensor(0.3)
    velocity = bind(field, source, condition, 4)(t, z)
    rows = [field(t.expand(6), z[:, k], source, condition) for k in range(4)]
    torch.testing.assert_close(velocity, torch.stack(rows, 1))


def test_any_module_will_do(field, inputs):
    class Wrapped(torch.nn.Module):
        def forward(self, t, z, source, condition=None):
            return field(t, z, source, condition)

    _, _, source, condition = inputs
    z, t = torch.randn(6, 4, 5, generator=generator()), torch.tensor(0.3)
    torch.testing.assert_close(
        bind(Wrapped(), source, condition, 4)(t, z), bind(field, source, condition, 4)(t, z)
    )


def test_path():
    t, noise, target = torch.rand(8), torch.randn(8, 3), torch.randn(8, 3)
    z, velocity = straight_path(t, noise, target)
    torch.testing.assert_close(z, (1 - t[:, None]) * noise + t[:, None] * target)
    torch.testing.assert_close(velocity, target - noise)
    # following the velocity from any point of the path arrives at the target
    torch.testing.assert_close(z + (1 - t[:, None]) * velocity, target)


def test_times_are_even_and_uniform():
    times = torch.stack([stratified_times(10, generator=generator(k)) for k in range(400)])
    assert ((times * 10).floor() == torch.arange(10)).all()
    assert abs(times[:, 0].mean() - 0.05) < 5 * 0.1 / 12**0.5 / 400**0.5
