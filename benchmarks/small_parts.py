"""Two states of the built-in molecule that differ by a chain or two."""

import json
from importlib.resources import files
from pathlib import Path

import numpy as np


def write_states(folder: Path, chains: tuple[str, ...]) -> dict[str, str]:
    """Write the molecule with and without some chains, as ``cryolatent simulate`` reads it.

    Args:
        folder: Where to write.
        chains: The chains of PDB 6ZU5 that one of the states lacks.

    Returns:
        The options `model` and `states`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = files("cryolatent.simulate") / "molecules" / "6zu5.npz"
    with source.open("rb") as stream:
        points = np.load(stream)
        positions, electrons = points["xyz_centi_angstrom"] / 100, points["electrons"]
        block = np.isin(points["chain"], chains).astype(int)
    names = np.array(["rest", "part"])
    weights = electrons.astype(float)
    np.savez(folder / "model.npz", xyz=positions, w=weights, block=block, names=names)
    (folder / "states.json").write_text(json.dumps({"with": ["rest", "part"], "without": ["rest"]}))
    return {"model": str(folder / "model.npz"), "states": str(folder / "states.json")}
