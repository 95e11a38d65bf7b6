"""Molecules as weighted points, states that lack some parts, and the part that turns."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from cryolatent.errors import InputError
from cryolatent.io import read_arrays
from cryolatent.simulate.motion import Hinge

BUILT_IN = "6zu5"
Vector = Annotated[list[FiniteFloat], Field(min_length=3, max_length=3)]


class MotionDefinition(BaseModel):
    """The entry ``motion`` of a file of states."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parts: Annotated[list[str], Field(min_length=1)]
    """Parts that turn."""

    axis: Vector | None = None
    """Direction (x, y, z) of the axis; along the contact with the rest if left out."""

    centre: Vector | None = None
    """A point (x, y, z) on the axis, in the model's coordinates; the contact's if left out."""


@dataclass(frozen=True)
class Molecule:
    """A molecule as weighted points, its states as masks over the points, and its hinge.

    Args:
        positions_angstrom: Points (x, y, z) in Å, the full molecule's centre of mass at zero.
        electrons: Scattering weight of each point.
        blob_sigma_angstrom: Width of the Gaussian that stands for a point, in Å.
        states: For each named state, which points are present.
        hinge: What turns about what in a continuous motion, if that is defined.
    """

    positions_angstrom: Float[np.ndarray, "points 3"]
    electrons: Float[np.ndarray, " points"]
    blob_sigma_angstrom: float
    states: dict[str, Bool[np.ndarray, " points"]]
    hinge: Hinge | None = None

    @property
    def diameter_angstrom(self) -> float:
        """Twice the radius about the centre that holds all points but the outermost percent."""
        return 2 * float(np.quantile(np.linalg.norm(self.positions_angstrom, axis=1), 0.99))

    def only(self, names: tuple[str, ...]) -> "Molecule":
        """The molecule with some of its states.

        Args:
            names: States to keep, in the order wanted; none keeps all.

        Returns:
            The molecule.

        Raises:
            InputError: If it has no such state.
        """
        for name in names:
            if name not in self.states:
                known = ", ".join(self.states)
                raise InputError("`only`", name, f"one of {known}", "Correct the state's name.")
        return replace(self, states={name: self.states[name] for name in names or self.states})


def load_molecule(source: str, states: Path | None = None) -> Molecule:
    """Load a molecule and its states.

    Args:
        source: ``6zu5`` for the built-in large ribosomal subunit, a PDB or mmCIF file, or an
            ``.npz`` of blocks (``xyz``, ``w``, ``block``, ``names``).
        states: A JSON file. For blocks, ``{state: [blocks present]}``; for a structure,
            ``{state: [chains absent]}``. Without it a structure has a single state, and blocks
            need it. The entry ``motion`` is no state but says what can turn: a `MotionDefinition`.

    Returns:
        The molecule.

    Raises:
        InputError: If a file is missing or unreadable, or a state names an unknown part.
    """
    if source == BUILT_IN and states is not None:
        raise InputError(
            states, "states for the built-in molecule", "its own", "Give `model` as well."
        )
    if source == BUILT_IN:
        return _built_in()
    path = Path(source)
    if not path.is_file():
        raise InputError(
            path, "no such file", f"{BUILT_IN}, a PDB, mmCIF or .npz file", "Check `model`."
        )
    if path.suffix == ".npz":
        return _blocks(path, states)
    return _structure(path, states)


def _built_in() -> Molecule:
    folder = files("cryolatent.simulate") / "molecules"
    with (folder / f"{BUILT_IN}.npz").open("rb") as stream, np.load(stream) as data:
        points = {name: data[name] for name in data.files}
    definition = json.loads((folder / f"{BUILT_IN}.json").read_text())
    electrons = points["electrons"].astype(float)
    positions = points["xyz_centi_angstrom"].astype(float) / 100
    parts = {
        part: np.any([_selection(points, *rule) for rule in rules], axis=0)
        for part, rules in definition["parts"].items()
    }
    present = np.ones(len(electrons), dtype=bool)

    def points_of(names: Iterable[str]) -> np.ndarray:
        return np.any([parts[name] for name in names] or [~present], axis=0)

    states = {state: ~points_of(names) for state, names in definition["states"].items()}
    positions = positions - np.average(positions, axis=0, weights=electrons)
    hinge = Hinge.at_contact(positions, points_of(definition["motion"]["parts"]))
    return Molecule(positions, electrons, 3.5, states, hinge)


def _selection(
    points: dict[str, np.ndarray], chain: str, first: int = -(2**15), last: int = 2**15
) -> np.ndarray:
    residue = points["residue"]
    return (points["chain"] == chain) & (first <= residue) & (residue <= last)


def _blocks(path: Path, states: Path | None) -> Molecule:
    if states is None:
        raise InputError(
            path, "blocks without states", "a JSON file {state: [blocks]}", "Give `states`."
        )
    data = read_arrays(path, ("xyz", "w", "block", "names"))
    positions, electrons = data["xyz"].astype(float), data["w"].astype(float)
    block, names = data["block"], data["names"].tolist()

    def points_of(parts: Iterable[str]) -> np.ndarray:
        return np.isin(block, [names.index(part) for part in parts])

    chosen, motion = _read_states(states, names)
    masks = {state: points_of(present) for state, present in chosen.items()}
    hinge = None if motion is None else _hinge(states, motion, positions, points_of)
    return Molecule(positions, electrons, 1.5, masks, hinge)


def _structure(path: Path, states: Path | None) -> Molecule:
    import gemmi

    try:
        structure = gemmi.read_structure(str(path))
        structure.remove_waters()
        atoms = [(chain.name, atom) for chain in structure[0] for res in chain for atom in res]
    except (RuntimeError, ValueError, IndexError) as error:
        raise InputError(
            path, f"no structure ({error})", "a PDB or mmCIF file", "Check `model`."
        ) from None
    if not atoms:
        raise InputError(path, "no atoms", "a PDB or mmCIF file with atoms", "Check `model`.")
    positions = np.array([atom.pos.tolist() for _, atom in atoms])
    electrons = np.array([atom.element.atomic_number * atom.occ for _, atom in atoms], dtype=float)
    chains = np.array([chain for chain, _ in atoms])
    chosen, motion = {"complete": []}, None
    if states is not None:
        chosen, motion = _read_states(states, np.unique(chains).tolist())

    def points_of(parts: Iterable[str]) -> np.ndarray:
        return np.isin(chains, list(parts))

    masks = {state: ~points_of(absent) for state, absent in chosen.items()}
    centre = np.average(positions, axis=0, weights=electrons)
    hinge = None
    if states is not None and motion is not None:
        hinge = _hinge(states, motion, positions, points_of)
        hinge = replace(hinge, centre_angstrom=hinge.centre_angstrom - centre)
    return Molecule(positions - centre, electrons, 1.5, masks, hinge)


def _hinge(
    path: Path,
    motion: MotionDefinition,
    positions: np.ndarray,
    points_of: Callable[[Iterable[str]], np.ndarray],
) -> Hinge:
    moving = points_of(motion.parts)
    if moving.all() or not moving.any():
        found = f"parts that hold {'all' if moving.all() else 'no'} points"
        raise InputError(path, found, "a part and a rest", "Correct its parts.", row="entry motion")
    hinge = Hinge.at_contact(positions, moving)
    if motion.centre is not None:
        hinge = replace(hinge, centre_angstrom=np.array(motion.centre, dtype=float))
    if motion.axis is not None:
        length = float(np.linalg.norm(motion.axis))
        if length == 0:
            raise InputError(
                path, "an axis of zero length", "a direction", "Correct it.", row="entry motion"
            )
        hinge = replace(hinge, axis=np.array(motion.axis, dtype=float) / length)
    return hinge


def _read_states(
    path: Path, known: list[str]
) -> tuple[dict[str, list[str]], MotionDefinition | None]:
    try:
        content: dict[str, Any] = json.loads(Path(path).read_text())
        motion = content.pop("motion", None)
        states = {state: list(names) for state, names in content.items()}
        definition = None if motion is None else MotionDefinition.model_validate(motion)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            path,
            f"{'.'.join(map(str, first['loc'])) or 'the entry'} = {first['input']}",
            first["msg"],
            'Write {"parts": [...], "axis": [x, y, z], "centre": [x, y, z]}; both vectors may be '
            "left out.",
            row="entry motion",
        ) from None
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(
            path, f"no states ({error})", "a JSON object {state: [parts]}", "Check `states`."
        ) from None
    if not states:
        raise InputError(path, "no states", "a JSON object {state: [parts]}", "Add a state.")
    named = {f"state {state}": names for state, names in states.items()}
    if definition is not None:
        named["entry motion"] = definition.parts
    for place, names in named.items():
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise InputError(
                path,
                f"part {unknown[0]}",
                f"one of {', '.join(known[:5])} ...",
                "Correct the name.",
                row=place,
            )
    return states, definition
