"""The semi-amortised posterior: a network proposes, the model's own gradients refine."""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cryolatent.data import Batch
from cryolatent.models.distributions import DiagonalNormal
from cryolatent.models.generative import GenerativeModel
from cryolatent.models.posteriors.base import Posterior
from cryolatent.models.posteriors.encoder import Encoder
from cryolatent.models.posteriors.options import SemiAmortizedOptions
from cryolatent.models.setting import Setting

Misfit = Callable[[Float[Tensor, "n zdim"]], Float[Tensor, " n"]]

START_SIZE = 0.5
REACH = 2.0
"""Largest step: of a mean in standard deviations, of a log variance in natural units."""


class SemiAmortized(Posterior):
    """An encoder's normal distributions, refined by natural-gradient steps on the bound.

    With ``L = E_q[-log p(x | z)] + KL`` of the evidence, a step makes ``μ -= a σ² ∂L/∂μ`` and
    ``log σ² -= 2 b ∂L/∂log σ²``; a and b are learned for each step, together with encoder and
    decoder, through the steps. Means and log variances move by less than `REACH` (standard
    deviations and natural units), which matters only far from the optimum. The expectation is taken
    at ``μ ± σ ε``, with ε a vector of signs that is fixed for each step and the same for every
    particle, so that the distribution is a function of the evidence. The signs are rows of a
    Hadamard matrix: over as many steps as it has rows, products of two components cancel.

    Args:
        encoder: Proposes the distributions.
        steps: Number of refinements.

    Source:
        Kim et al. 2018, arXiv:1802.02550; natural gradients of normal distributions: Khan and
        Nielsen 2018, arXiv:1807.04489.
    """

    reads_images = True
    is_amortised = True

    def __init__(self, encoder: Encoder, steps: int = 3) -> None:
        super().__init__()
        self.encoder, self.z_dim = encoder, encoder.z_dim
        self.log_sizes = nn.Parameter(torch.full((steps, 2), START_SIZE).log())
        self.register_buffer("signs", _signs(steps, self.z_dim), persistent=False)
        self.signs: Tensor

    @classmethod
    def build(cls, options: SemiAmortizedOptions, setting: Setting) -> "SemiAmortized":
        """An encoder for the setting's images, and its refinement."""
        return cls(Encoder.build(options, setting), options.refinement_steps)

    def forward(self, batch: Batch, model: GenerativeModel) -> DiagonalNormal:
        """The distribution of each particle's latent, from its evidence and the model.

        Raises:
            ValueError: If decoder or likelihood need poses or transfer functions and the evidence
                has none.
        """
        learning = torch.is_grad_enabled()
        q = self.encoder(batch, model)
        with nullcontext() if learning else model.frozen():
            misfit = model.misfit(batch.of_evidence())
            for signs, sizes in zip(self.signs, self.log_sizes.exp(), strict=True):
                q = _refine(q, misfit, signs, sizes, learning)
        return q


def _refine(
    q: DiagonalNormal,
    misfit: Misfit,
    signs: Float[Tensor, " zdim"],
    sizes: Float[Tensor, " 2"],
    learning: bool,
) -> DiagonalNormal:
    """One step; without `learning` nothing but the result is kept."""
    loc, log_var = (_differentiable(values, learning) for values in (q.loc, q.log_var))
    away = torch.exp(0.5 * log_var) * signs
    loss = 0.5 * (misfit(loc + away) + misfit(loc - away)) + DiagonalNormal(loc, log_var).kl()
    slopes = torch.autograd.grad(loss.sum(), (loc, log_var), create_graph=learning)
    scale = torch.exp(0.5 * log_var)
    loc = loc - scale * _bounded(sizes[0] * scale * slopes[0])
    log_var = log_var - _bounded(2 * sizes[1] * slopes[1])
    refined = DiagonalNormal(loc, log_var)
    return refined if learning else DiagonalNormal(loc.detach(), log_var.detach())


def _differentiable(values: Tensor, learning: bool) -> Tensor:
    return values if learning and values.requires_grad else values.detach().requires_grad_()


def _bounded(step: Tensor) -> Tensor:
    return REACH * torch.tanh(step / REACH)


def _signs(steps: int, z_dim: int) -> Float[Tensor, "steps zdim"]:
    """Rows of Sylvester's Hadamard matrix, over and over."""
    matrix = torch.ones(1, 1)
    while len(matrix) < z_dim:
        matrix = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]]), matrix)
    return matrix[torch.arange(steps) % len(matrix), :z_dim]
