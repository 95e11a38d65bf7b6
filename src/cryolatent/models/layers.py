"""The one network shape that encoders and decoders share."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ResidualMlp(nn.Module):
    """ReLU layers of equal width, each added to its input: ``x <- relu(x + W x + b)``.

    Args:
        width: Number of units of every layer.
        layers: Number of layers.
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))

    def forward(self, x: Float[Tensor, "*n width"]) -> Float[Tensor, "*n width"]:
        """Apply the layers.

        Args:
            x: Activations of the layer before.

        Returns:
            Activations of the last layer.
        """
        for layer in self.layers:
            x = torch.relu(x + layer(x))
        return x
