import pytest
import torch
from torch.nn.functional import embedding

from cryolatent.train import RowAdam

VISITS = [[0, 2], [2], [1, 2], [2, 0], [0]]


def gradient_of(row: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (row - target).pow(4).sum()


def test_each_row_is_stepped_as_by_an_adam_of_its_own() -> None:
    start, target = torch.randn(4, 3), torch.randn(4, 3)
    table = start.clone().requires_grad_()
    optimiser = RowAdam([table], lr=0.05)
    rows = [start[i].clone().requires_grad_() for i in range(4)]
    alone = [torch.optim.Adam([row], lr=0.05) for row in rows]
    for visit in VISITS:
        optimiser.zero_grad()
        index = torch.tensor(visit)
        gradient_of(embedding(index, table, sparse=True), target[index]).backward()
        optimiser.step()
        for i in visit:
            alone[i].zero_grad()
            gradient_of(rows[i], target[i]).backward()
            alone[i].step()
    torch.testing.assert_close(table.detach(), torch.stack(rows).detach())


def test_rows_that_no_batch_holds_stay_bit_for_bit() -> None:
    table = torch.randn(5, 2, requires_grad=True)
    start = table.detach().clone()
    optimiser = RowAdam([table], lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        embedding(torch.tensor([1, 3]), table, sparse=True).square().sum().backward()
        optimiser.step()
    moved = (table.detach() != start).any(dim=1)
    assert moved.tolist() == [False, True, False, True, False]


def test_dense_gradients_are_refused() -> None:
    table = torch.randn(2, 2, requires_grad=True)
    table.sum().backward()
    with pytest.raises(ValueError, match="sparse"):
        RowAdam([table]).step()
