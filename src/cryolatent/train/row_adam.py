"""Adam for tables: only the rows of the batch are stepped, and each row counts its own steps."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer


class RowAdam(Optimizer):
    """Adam on parameters whose gradients are sparse over their first dimension.

    A dense Adam keeps moving rows that a batch does not hold and touches all of them in every
    step; PyTorch's SparseAdam counts steps for the whole tensor, so a row's first moments are
    hardly corrected for their zero start. Here moments, step count and bias correction belong to
    the row.

    Args:
        params: Parameters with sparse gradients.
        lr: Learning rate.
        betas: Decay of the first and second moments.
        eps: Added to the root of the second moment.

    Source:
        Kingma and Ba 2015, arXiv:1412.6980, algorithm 1, applied to each row.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-2,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Step the rows that have a gradient.

        Args:
            closure: Not supported.

        Raises:
            ValueError: If a gradient is dense.
        """
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step_rows(parameter, parameter.grad, group)

    def _step_rows(self, parameter: Tensor, gradient: Tensor, group: dict) -> None:
        if not gradient.is_sparse:
            raise ValueError("RowAdam needs sparse gradients")
        gradient = gradient.coalesce()
        rows, values = gradient.indices()[0], gradient.values()
        state = self.state[parameter]
        if not state:
            state["step"] = parameter.new_zeros(len(parameter), 1)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        beta1, beta2 = group["betas"]
        count = state["step"][rows] + 1
        first = state["exp_avg"][rows].lerp(values, 1 - beta1)
        second = state["exp_avg_sq"][rows].lerp(values.square(), 1 - beta2)
        state["step"][rows], state["exp_avg"][rows], state["exp_avg_sq"][rows] = (
            count,
            first,
            second,
        )
        corrected = first / (1 - beta1**count)
        scale = (second / (1 - beta2**count)).sqrt() + group["eps"]
        parameter[rows] -= group["lr"] * corrected / scale
