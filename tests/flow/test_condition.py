import torch

from scgenot.flow import SetEncoder, VelocityField


def conditions(*slots, further=(0.5, -1.0)):
    """A condition of slots (strength, token)."""
    return torch.tensor(
        [value for strength, token in slots for value in (strength, *token)] + list(further)
    )


A, B, NONE = (1.0, (1.0, 0.0, 2.0)), (0.4, (0.0, 1.0, -1.0)), (0.0, (0.0, 0.0, 0.0))


def encoder():
    torch.manual_seed(0)
    return SetEncoder(n_slots=2, token_dim=3, n_further=2, width=5)


def test_the_order_of_a_combination_does_not_matter():
    encode = encoder()
    torch.testing.assert_close(encode(conditions(A, B)), encode(conditions(B, A)))
    assert encode(conditions(A, B)).shape == (encode.out_dim,)
    assert len(conditions(A, B)) == encode.in_dim


def test_a_combination_is_the_sum_of_its_parts():
    encode = encoder()
    parts = [encode(conditions(slot, NONE, further=(0, 0))) for slot in (A, B)]
    torch.testing.assert_close(encode(conditions(A, B, further=(0, 0))), sum(parts))


def test_no_dose_is_no_perturbation():
    encode = encoder()
    absent = (0.0, A[1])
    torch.testing.assert_close(encode(conditions(absent, B)), encode(conditions(B, NONE)))
    assert (encode(conditions(absent, NONE))[:5] == 0).all()


def test_further_columns_pass():
    assert encoder()(conditions(A, B, further=(3.0, 4.0)))[-2:].tolist() == [3, 4]


def test_a_field_encodes_its_conditions():
    encode = encoder()
    field = VelocityField(2, 2, encode.in_dim, width=8, depth=1, encoder=encode)
    for parameter in field.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    t, z, x = torch.rand(6), torch.randn(6, 2), torch.randn(6, 2)
    first = field(t, z, x, conditions(A, B).expand(6, -1))
    torch.testing.assert_close(first, field(t, z, x, conditions(B, A).expand(6, -1)))
    assert not torch.allclose(first, field(t, z, x, conditions(A, NONE).expand(6, -1)))
