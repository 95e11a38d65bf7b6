"""Particles, their observations, and the batches that training draws from them."""

from cryolatent.data.batch import Batch, Evidence
from cryolatent.data.filtered import Filtered, FilteredImages, FilteredStack, FilteredTogether
from cryolatent.data.images import ImageSource, MrcImages
from cryolatent.data.relion import open_star, pixel_sizes_angstrom, unique_ids
from cryolatent.data.stack import ParticleStack, original_names
from cryolatent.data.statistics import StackStatistics, scan

__all__ = [
    "Batch",
    "Evidence",
    "Filtered",
    "FilteredImages",
    "FilteredStack",
    "FilteredTogether",
    "ImageSource",
    "MrcImages",
    "ParticleStack",
    "StackStatistics",
    "open_star",
    "original_names",
    "pixel_sizes_angstrom",
    "scan",
    "unique_ids",
]
