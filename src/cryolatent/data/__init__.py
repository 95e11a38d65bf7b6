"""Particles, their observations, and the batches that training draws from them."""

from cryolatent.data.batch import Batch, Evidence, Twin
from cryolatent.data.digits import DigitSet, open_digits
from cryolatent.data.door import Tables, open_particles, open_star
from cryolatent.data.filtered import (
    Filtered,
    FilteredImages,
    FilteredStack,
    FilteredTogether,
    Placing,
)
from cryolatent.data.images import ImageSource, MrcImages, PhaseCorrectedImages
from cryolatent.data.magnification import UnmagnifiedImages
from cryolatent.data.noise import NoiseLevels
from cryolatent.data.places import Moves
from cryolatent.data.relion_optics import pixel_sizes_angstrom
from cryolatent.data.source import Domain, Geometry, Source, original_names
from cryolatent.data.stack import ParticleStack
from cryolatent.data.stacks import MissingStackError, unique_ids
from cryolatent.data.statistics import Scan, StackStatistics, further_levels, scan
from cryolatent.data.twins import twin_of

__all__ = [
    "Batch",
    "DigitSet",
    "Domain",
    "Evidence",
    "Filtered",
    "FilteredImages",
    "FilteredStack",
    "FilteredTogether",
    "Geometry",
    "ImageSource",
    "MissingStackError",
    "Moves",
    "MrcImages",
    "NoiseLevels",
    "ParticleStack",
    "PhaseCorrectedImages",
    "Placing",
    "Scan",
    "Source",
    "StackStatistics",
    "Tables",
    "Twin",
    "UnmagnifiedImages",
    "further_levels",
    "open_digits",
    "open_particles",
    "open_star",
    "original_names",
    "pixel_sizes_angstrom",
    "scan",
    "twin_of",
    "unique_ids",
]
