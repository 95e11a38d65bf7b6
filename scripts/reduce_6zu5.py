"""Make the demo molecule: one point per residue of PDB 6ZU5 (wwPDB, CC0).

Usage: python scripts/reduce_6zu5.py ATOMS.npz src/cryolatent/simulate/molecules/6zu5.npz

ATOMS.npz holds `xyz` (Å), `w` (electrons), `resid`, `chain` and the chains' `names`. Only the large
subunit (chains L...) is kept; residues of fewer than three atoms (ions, waters) are dropped.
"""

import sys

import numpy as np


def main(source: str, target: str) -> None:
    atoms = np.load(source)
    large = np.char.startswith(atoms["names"], "L")[atoms["chain"]]
    xyz, weight = atoms["xyz"][large].astype(float), atoms["w"][large].astype(float)
    chain, residue = atoms["chain"][large].astype(int), atoms["resid"][large].astype(int)
    keys, owner, count = np.unique(
        np.stack([chain, residue]), axis=1, return_inverse=True, return_counts=True
    )
    total = np.bincount(owner, weight)
    centre = np.stack([np.bincount(owner, weight * xyz[:, i]) / total for i in range(3)], axis=1)
    keep = count >= 3
    np.savez_compressed(
        target,
        xyz_centi_angstrom=np.round(100 * centre[keep]).astype(np.int16),
        electrons=total[keep].astype(np.uint16),
        chain=atoms["names"][keys[0][keep]],
        residue=keys[1][keep].astype(np.int16),
    )
    print(f"{target}: {keep.sum()} residues")


if __name__ == "__main__":
    main(*sys.argv[1:])
