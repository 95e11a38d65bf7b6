"""RELION reads a simulated stack, and its reconstruction is the molecule."""

import subprocess

import gemmi
import numpy as np
import pytest
import torch

from cryolatent.io import read_volume
from cryolatent.physics import fourier_shell_correlation
from cryolatent.simulate.config import SimulateConfig
from cryolatent.simulate.stack import simulate


def write_random_molecule(path) -> str:
    chain = gemmi.Chain("A")
    for number, position in enumerate(np.random.default_rng(0).normal(0, 14, (60, 3))):
        atom = gemmi.Atom()
        atom.name, atom.element, atom.pos = "C", gemmi.Element("C"), gemmi.Position(*position)
        residue = gemmi.Residue()
        residue.name, residue.seqid = "ALA", gemmi.SeqId(number + 1, " ")
        residue.add_atom(atom)
        chain.add_residue(residue)
    structure = gemmi.Structure()
    structure.add_model(gemmi.Model(1)).add_chain(chain)
    structure.write_pdb(str(path))
    return str(path)


def shell_gains(reference: torch.Tensor, other: torch.Tensor) -> np.ndarray:
    """Scale of one map against another in each Fourier shell."""
    axis = np.fft.fftfreq(len(reference), 1 / len(reference))
    shell = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).round().astype(int)
    a, b = np.fft.fftn(reference.numpy()).ravel(), np.fft.fftn(other.numpy()).ravel()
    cross = np.bincount(shell.ravel(), (a.conj() * b).real)
    return cross / np.bincount(shell.ravel(), np.abs(a) ** 2)


@pytest.mark.relion
def test_relion_reconstructs_the_true_map(tmp_path):
    config = SimulateConfig(
        model=write_random_molecule(tmp_path / "a.pdb"),
        particles=600,
        box=32,
        pixel_size=4.0,
        snr=1e4,
        shift_spread=2.0,
    )
    folder = tmp_path / "data"
    truth = simulate(config, folder)
    command = ["relion_reconstruct", "--i", "particles.star", "--o", "map.mrc", "--ctf"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    volume, pixel_size = read_volume(folder / "map.mrc")
    assert pixel_size == pytest.approx(4.0)
    ours, theirs = truth.volumes[0], torch.from_numpy(volume)
    assert fourier_shell_correlation(ours, theirs)[:15].min() > 0.99
    assert shell_gains(ours, theirs)[1:14].mean() == pytest.approx(1.0, abs=0.02)
