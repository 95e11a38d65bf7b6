"""What is kept out of a training's way."""

import torch

from cryolatent.train.memory import DENORMAL, flushing_denormals


def flushed() -> bool:
    return float(torch.tensor(DENORMAL) * 1) == 0


def test_denormals_are_flushed_for_a_while() -> None:
    assert not flushed()
    with flushing_denormals():
        with flushing_denormals():
            assert flushed()
        assert flushed()
    assert not flushed()
