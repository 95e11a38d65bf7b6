"""The contrast of particles: a number per particle that multiplies all that is expected of it."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

NODES = 7


@dataclass(frozen=True)
class Contrast:
    """A discrete prior of the particles' contrast.

    Args:
        values: Contrasts.
        log_weights: Logarithms of their probabilities.
    """

    values: Float[Tensor, " q"]
    log_weights: Float[Tensor, " q"]

    @staticmethod
    def of_spread(spread: float) -> "Contrast":
        """A normal distribution about one, as Gauss-Hermite quadrature sees it.

        Args:
            spread: Standard deviation; 0 fixes the contrast at one.

        Returns:
            Nodes and weights.
        """
        if spread == 0:
            return Contrast(torch.ones(1), torch.zeros(1))
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        weights = torch.from_numpy(weights / weights.sum()).log().float()
        return Contrast(torch.from_numpy(1 + spread * nodes).float(), weights)


ONE = Contrast.of_spread(0.0)
