import torch

from cryolatent.models.layers import ResidualLayer, ResidualMlp


def test_residual_layer_is_its_formula() -> None:
    layer, x = ResidualLayer(6, 6).double(), torch.randn(4, 6, dtype=torch.double)
    expected = torch.relu(x + x @ layer.weight.T + layer.bias)
    torch.testing.assert_close(layer(x), expected)


def test_gradients_are_those_of_finite_differences() -> None:
    network = ResidualMlp(5, 3).double()
    x = torch.randn(4, 5, dtype=torch.double, requires_grad=True)

    def of(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        names = [name for name, _ in network.named_parameters()]
        return torch.func.functional_call(network, dict(zip(names, parameters, strict=True)), x)

    assert torch.autograd.gradcheck(of, (x, *network.parameters()))
