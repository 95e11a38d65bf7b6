"""The network shapes that encoders and decoders share."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear


class ResidualLayer(nn.Linear):
    """A ReLU layer added to its input, ``relu(x + W x + b)``, as one product ``(1 + W) x``.

    It computes in the precision of its input.
    """

    def forward(self, input: Float[Tensor, "*n width"]) -> Float[Tensor, "*n width"]:
        """Apply the layer.

        Args:
            input: Activations of the layer before.

        Returns:
            Activations.
        """
        weight = self.weight + torch.eye(
            self.in_features, dtype=self.weight.dtype, device=self.weight.device
        )
        # in place on the product: a second pass over memory, but no second buffer
        return linear(input, weight.to(input.dtype), self.bias.to(input.dtype)).relu_()


class ResidualMlp(nn.Module):
    """Residual ReLU layers of equal width.

    Args:
        width: Number of units of every layer.
        layers: Number of layers.
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ResidualLayer(width, width) for _ in range(layers))

    def forward(self, x: Float[Tensor, "*n width"]) -> Float[Tensor, "*n width"]:
        """Apply the layers.

        Args:
            x: Activations of the layer before.

        Returns:
            Activations of the last layer.
        """
        for layer in self.layers:
            x = layer(x)
        return x


class PlainLayer(nn.Linear):
    """A ReLU layer, ``relu(W x + b)``, that computes in the precision of its input."""

    def forward(self, input: Float[Tensor, "*n width"]) -> Float[Tensor, "*n width"]:
        """Apply the layer.

        Args:
            input: Activations of the layer before.

        Returns:
            Activations.
        """
        return linear(input, self.weight.to(input.dtype), self.bias.to(input.dtype)).relu_()


class PlainMlp(nn.Sequential):
    """ReLU layers of equal width, without what residual layers add.

    Args:
        width: Number of units of every layer.
        layers: Number of layers.
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__(*(PlainLayer(width, width) for _ in range(layers)))
