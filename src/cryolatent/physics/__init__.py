"""The image model's physics: Fourier grids, poses, transfer functions, slices, spectra."""

from cryolatent.physics.aberrations import (
    EVEN,
    ODD,
    beam_tilt_polynomial,
    evaluate_polynomial,
    turn_polynomial,
    zernike_polynomial,
)
from cryolatent.physics.ctf import CTF, electron_wavelength_angstrom
from cryolatent.physics.first_order import (
    SHIFTS,
    TURNS,
    PerturbedProducts,
    perturbed_products,
    tangents,
)
from cryolatent.physics.grid import (
    ALL_COEFFICIENTS,
    CoefficientSubset,
    FourierDisc,
    disc_to_images,
    images_to_disc,
    shift_phases,
)
from cryolatent.physics.lattice import FourierLattice
from cryolatent.physics.masks import blur, density_threshold, soft_sphere, solvent_mask
from cryolatent.physics.normal import (
    NormalEquations,
    apply_normal,
    pack,
    residual_power,
    slice_products,
    unpack,
)
from cryolatent.physics.orientations import (
    CELL,
    OrientationGrid,
    shift_grid,
    sphere_grid,
)
from cryolatent.physics.plane import (
    in_plane_degrees,
    plane_rotation,
    quarter_turn,
    rotate_in_plane,
    turn_ctf,
    turn_poses,
)
from cryolatent.physics.poses import (
    Poses,
    composed,
    rotation_defect,
    turn_between,
    turned,
    view_order,
)
from cryolatent.physics.slicing import Interpolation, displaced, insert_slices, slice_lattice
from cryolatent.physics.spectra import (
    background_spectrum,
    fourier_shell_correlation,
    resolution_angstrom,
    soft_disc,
)
from cryolatent.physics.symmetry import symmetry_rotations
from cryolatent.physics.volumes import (
    half_space_to_volume,
    in_canonical_half,
    lattice_half_space,
    slice_volume,
    volume_to_fourier,
    within_shells,
)

__all__ = [
    "ALL_COEFFICIENTS",
    "CELL",
    "CTF",
    "EVEN",
    "ODD",
    "SHIFTS",
    "TURNS",
    "CoefficientSubset",
    "FourierDisc",
    "FourierLattice",
    "Interpolation",
    "NormalEquations",
    "OrientationGrid",
    "PerturbedProducts",
    "Poses",
    "apply_normal",
    "background_spectrum",
    "beam_tilt_polynomial",
    "blur",
    "composed",
    "density_threshold",
    "disc_to_images",
    "displaced",
    "electron_wavelength_angstrom",
    "evaluate_polynomial",
    "fourier_shell_correlation",
    "half_space_to_volume",
    "images_to_disc",
    "in_canonical_half",
    "in_plane_degrees",
    "insert_slices",
    "lattice_half_space",
    "pack",
    "perturbed_products",
    "plane_rotation",
    "quarter_turn",
    "residual_power",
    "resolution_angstrom",
    "rotate_in_plane",
    "rotation_defect",
    "shift_grid",
    "shift_phases",
    "slice_lattice",
    "slice_products",
    "slice_volume",
    "soft_disc",
    "soft_sphere",
    "solvent_mask",
    "sphere_grid",
    "symmetry_rotations",
    "tangents",
    "turn_between",
    "turn_ctf",
    "turn_polynomial",
    "turn_poses",
    "turned",
    "unpack",
    "view_order",
    "volume_to_fourier",
    "within_shells",
    "zernike_polynomial",
]
