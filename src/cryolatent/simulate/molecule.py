"""Molecules as weighted points, and the states that lack some of their parts."""

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from cryolatent.errors import InputError
from cryolatent.io import read_arrays

BUILT_IN = "6zu5"


@dataclass(frozen=True)
class Molecule:
    """A molecule as weighted points, and its states as masks over the points.

    Args:
        positions_angstrom: Points (x, y, z) in Å, the full molecule's centre of mass at zero.
        electrons: Scattering weight of each point.
        blob_sigma_angstrom: Width of the Gaussian that stands for a point, in Å.
        states: For each named state, which points are present.
    """

    positions_angstrom: Float[np.ndarray, "points 3"]
    electrons: Float[np.ndarray, " points"]
    blob_sigma_angstrom: float
    states: dict[str, Bool[np.ndarray, " points"]]

    @property
    def diameter_angstrom(self) -> float:
        """Twice the radius about the centre that holds all points but the outermost percent."""
        return 2 * float(np.quantile(np.linalg.norm(self.positions_angstrom, axis=1), 0.99))


def load_molecule(source: str, states: Path | None = None) -> Molecule:
    """Load a molecule and its states.

    Args:
        source: ``6zu5`` for the built-in large ribosomal subunit, a PDB or mmCIF file, or an
            ``.npz`` of blocks (``xyz``, ``w``, ``block``, ``names``).
        states: A JSON file. For blocks, ``{state: [blocks present]}``; for a structure,
            ``{state: [chains absent]}``. Without it a structure has a single state, and blocks
            need it.

    Returns:
        The molecule.

    Raises:
        InputError: If a file is missing or unreadable, or a state names an unknown part.
    """
    if source == BUILT_IN and states is not None:
        raise InputError(
            states, "states for the built-in molecule", "its own", "Give --model as well."
        )
    if source == BUILT_IN:
        return _built_in()
    path = Path(source)
    if not path.is_file():
        raise InputError(
            path, "no such file", f"{BUILT_IN}, a PDB, mmCIF or .npz file", "Check --model."
        )
    if path.suffix == ".npz":
        return _blocks(path, states)
    return _structure(path, states)


def _centred(positions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return positions - np.average(positions, axis=0, weights=weights)


def _built_in() -> Molecule:
    folder = files("cryolatent.simulate") / "molecules"
    with (folder / f"{BUILT_IN}.npz").open("rb") as stream, np.load(stream) as data:
        points = {name: data[name] for name in data.files}
    definition = json.loads((folder / f"{BUILT_IN}.json").read_text())
    electrons = points["electrons"].astype(float)
    positions = points["xyz_centi_angstrom"].astype(float) / 100
    absent = {
        part: np.any([_selection(points, *rule) for rule in rules], axis=0)
        for part, rules in definition["parts"].items()
    }
    present = np.ones(len(electrons), dtype=bool)
    states = {
        state: present & ~np.any([absent[part] for part in parts] or [~present], axis=0)
        for state, parts in definition["states"].items()
    }
    return Molecule(_centred(positions, electrons), electrons, 3.5, states)


def _selection(
    points: dict[str, np.ndarray], chain: str, first: int = -(2**15), last: int = 2**15
) -> np.ndarray:
    residue = points["residue"]
    return (points["chain"] == chain) & (first <= residue) & (residue <= last)


def _blocks(path: Path, states: Path | None) -> Molecule:
    if states is None:
        raise InputError(
            path, "blocks without states", "a JSON file {state: [blocks]}", "Give --states."
        )
    data = read_arrays(path, ("xyz", "w", "block", "names"))
    positions, electrons = data["xyz"].astype(float), data["w"].astype(float)
    block, names = data["block"], data["names"].tolist()
    chosen = _read_states(states, names)
    masks = {
        state: np.isin(block, [names.index(name) for name in present])
        for state, present in chosen.items()
    }
    return Molecule(positions, electrons, 1.5, masks)


def _structure(path: Path, states: Path | None) -> Molecule:
    import gemmi

    try:
        structure = gemmi.read_structure(str(path))
        structure.remove_waters()
        atoms = [(chain.name, atom) for chain in structure[0] for res in chain for atom in res]
    except (RuntimeError, ValueError, IndexError) as error:
        raise InputError(
            path, f"no structure ({error})", "a PDB or mmCIF file", "Check --model."
        ) from None
    if not atoms:
        raise InputError(path, "no atoms", "a PDB or mmCIF file with atoms", "Check --model.")
    positions = np.array([atom.pos.tolist() for _, atom in atoms])
    electrons = np.array([atom.element.atomic_number * atom.occ for _, atom in atoms], dtype=float)
    chains = np.array([chain for chain, _ in atoms])
    present = np.ones(len(atoms), dtype=bool)
    masks = {"complete": present}
    if states is not None:
        absent = _read_states(states, np.unique(chains).tolist())
        masks = {state: ~np.isin(chains, list(names)) for state, names in absent.items()}
    return Molecule(_centred(positions, electrons), electrons, 1.5, masks)


def _read_states(path: Path, known: list[str]) -> dict[str, list[str]]:
    try:
        states = json.loads(Path(path).read_text())
        items = [(state, list(names)) for state, names in states.items()]
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(
            path, f"no states ({error})", "a JSON object {state: [parts]}", "Check --states."
        ) from None
    if not items:
        raise InputError(path, "no states", "a JSON object {state: [parts]}", "Add a state.")
    for state, names in items:
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise InputError(
                path,
                f"part {unknown[0]}",
                f"one of {', '.join(known[:5])} ...",
                "Correct the state.",
                row=f"state {state}",
            )
    return dict(items)
