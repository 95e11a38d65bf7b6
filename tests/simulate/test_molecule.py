"""Molecules: the built-in one, blocks, and structure files."""

import json
from importlib.resources import files
from pathlib import Path

import gemmi
import numpy as np
import pytest

from cryolatent.errors import InputError
from cryolatent.simulate.molecule import load_molecule


def write_structure(path: Path) -> Path:
    """Two chains, one half-occupied atom and a water."""
    model = gemmi.Model(1)
    for name, residue, element, occupancy, xyz in [
        ("A", "ALA", "C", 1.0, (10, 0, 0)),
        ("A", "ALA", "N", 0.5, (0, 10, 0)),
        ("B", "GLY", "O", 1.0, (0, 0, -10)),
        ("B", "HOH", "O", 1.0, (90, 90, 90)),
    ]:
        chain = model.find_chain(name) or model.add_chain(name)
        atom = gemmi.Atom()
        atom.name, atom.element = element, gemmi.Element(element)
        atom.pos, atom.occ = gemmi.Position(*xyz), occupancy
        new = gemmi.Residue()
        new.name, new.seqid = residue, gemmi.SeqId(len(chain) + 1, " ")
        new.add_atom(atom)
        chain.add_residue(new)
    structure = gemmi.Structure()
    structure.add_model(model)
    structure.setup_entities()
    if path.suffix == ".cif":
        structure.make_mmcif_document().write_file(str(path))
    else:
        structure.write_pdb(str(path))
    return path


def write_json(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_built_in_molecule_is_centred_and_has_four_states():
    molecule = load_molecule("6zu5")
    centre = np.average(molecule.positions_angstrom, axis=0, weights=molecule.electrons)
    np.testing.assert_allclose(centre, 0, atol=1e-9)
    assert len(molecule.states) >= 4
    assert molecule.states["mature"].all()
    masks = np.stack(list(molecule.states.values()))
    share = masks @ molecule.electrons / molecule.electrons.sum()
    assert (share > 0.5).all()
    assert len(np.unique(masks, axis=0)) == len(masks)
    assert 200 < molecule.diameter_angstrom < 300


def test_built_in_file_is_small():
    folder = files("cryolatent.simulate") / "molecules"
    assert sum(len(file.read_bytes()) for file in folder.iterdir()) < 400_000


@pytest.mark.parametrize("suffix", [".pdb", ".cif"])
def test_structure_is_weighted_by_atomic_number_and_occupancy(tmp_path, suffix):
    molecule = load_molecule(str(write_structure(tmp_path / f"small{suffix}")))
    assert molecule.electrons.tolist() == [6, 3.5, 8]
    xyz = np.array([[10.0, 0, 0], [0, 10, 0], [0, 0, -10]])
    centre = np.average(xyz, axis=0, weights=[6, 3.5, 8])
    np.testing.assert_allclose(molecule.positions_angstrom, xyz - centre, atol=1e-9)
    assert {name: mask.tolist() for name, mask in molecule.states.items()} == {
        "complete": [True] * 3
    }


def test_states_of_a_structure_name_the_absent_chains(tmp_path):
    pdb = write_structure(tmp_path / "small.pdb")
    states = write_json(tmp_path / "states.json", {"all": [], "no A": ["A"]})
    molecule = load_molecule(str(pdb), states)
    assert molecule.states["all"].tolist() == [True, True, True]
    assert molecule.states["no A"].tolist() == [False, False, True]


def write_blocks(path: Path, **changes: object) -> Path:
    blocks = {
        "xyz": np.eye(3, dtype=np.float32),
        "w": np.array([6, 7, 8], dtype=np.uint8),
        "block": np.array([1, 0, 1], dtype=np.int16),
        "names": np.array(["core", "arm"]),
    } | changes
    np.savez(path, **{name: value for name, value in blocks.items() if value is not None})
    return path


def test_states_of_blocks_name_the_present_blocks(tmp_path):
    blocks = write_blocks(tmp_path / "blocks.npz")
    states = write_json(tmp_path / "states.json", {"full": ["core", "arm"], "arm": ["arm"]})
    molecule = load_molecule(str(blocks), states)
    assert molecule.electrons.tolist() == [6, 7, 8]
    np.testing.assert_array_equal(molecule.positions_angstrom, np.eye(3))
    assert molecule.states["full"].all()
    assert molecule.states["arm"].tolist() == [True, False, True]


@pytest.mark.shared_data
def test_assembly_states_of_the_large_subunit(shared_data: Path):
    states = shared_data / "states.json"
    molecule = load_molecule(str(shared_data / "ecoli50S_blocks.npz"), states)
    assert list(molecule.states) == list(json.loads(states.read_text()))
    masses = [float(molecule.electrons[mask].sum()) for mask in molecule.states.values()]
    assert len(masses) == 4
    assert masses[0] == max(masses)
    assert masses[-1] == min(masses)


def unknown_chain(folder: Path):
    states = write_json(folder / "states.json", {"odd": ["Z"]})
    load_molecule(str(write_structure(folder / "a.pdb")), states)


def unknown_block(folder: Path):
    states = write_json(folder / "states.json", {"odd": ["core", "leg"]})
    load_molecule(str(write_blocks(folder / "a.npz")), states)


def states_that_are_a_list(folder: Path):
    states = write_json(folder / "states.json", ["core"])
    load_molecule(str(write_blocks(folder / "a.npz")), states)


def no_states(folder: Path):
    states = write_json(folder / "states.json", {})
    load_molecule(str(write_blocks(folder / "a.npz")), states)


def missing_states(folder: Path):
    load_molecule(str(write_blocks(folder / "a.npz")), folder / "states.json")


def blocks_without_states(folder: Path):
    load_molecule(str(write_blocks(folder / "a.npz")))


def blocks_without_positions(folder: Path):
    states = write_json(folder / "states.json", {"arm": ["arm"]})
    load_molecule(str(write_blocks(folder / "a.npz", xyz=None)), states)


def text_as_blocks(folder: Path):
    states = write_json(folder / "states.json", {"arm": ["arm"]})
    (folder / "a.npz").write_text("text\n")
    load_molecule(str(folder / "a.npz"), states)


def truncated_blocks(folder: Path):
    states = write_json(folder / "states.json", {"arm": ["arm"]})
    path = write_blocks(folder / "a.npz")
    path.write_bytes(path.read_bytes()[:-30])
    load_molecule(str(path), states)


def missing_structure(folder: Path):
    load_molecule(str(folder / "a.pdb"))


def text_as_structure(folder: Path):
    (folder / "a.pdb").write_text("text\n")
    load_molecule(str(folder / "a.pdb"))


def text_as_mmcif(folder: Path):
    (folder / "a.cif").write_text("text\n")
    load_molecule(str(folder / "a.cif"))


@pytest.mark.parametrize(
    ("break_it", "file", "row", "found"),
    [
        (unknown_chain, "states.json", "state odd", "part Z"),
        (unknown_block, "states.json", "state odd", "part leg"),
        (states_that_are_a_list, "states.json", None, "no states"),
        (no_states, "states.json", None, "no states"),
        (missing_states, "states.json", None, "no states"),
        (blocks_without_states, "a.npz", None, "blocks without states"),
        (blocks_without_positions, "a.npz", None, "xyz"),
        (text_as_blocks, "a.npz", None, ""),
        (truncated_blocks, "a.npz", None, ""),
        (missing_structure, "a.pdb", None, "no such file"),
        (text_as_structure, "a.pdb", None, "no "),
        (text_as_mmcif, "a.cif", None, "no "),
    ],
)
def test_broken_molecule_is_one_helpful_line(tmp_path, break_it, file, row, found):
    with pytest.raises(InputError) as caught:
        break_it(tmp_path)
    error, message = caught.value, str(caught.value)
    assert error.exit_code == 2
    assert error.row == row
    assert str(tmp_path / file) in message
    assert found in error.found
    assert "\n" not in message
    assert message.endswith(f". {error.way_out}")
