"""Particles, their observations, and the batches that training draws from them."""

from cryolatent.data.batch import Batch, Evidence, Twin
from cryolatent.data.filtered import Filtered, FilteredImages, FilteredStack, FilteredTogether
from cryolatent.data.images import ImageSource, MrcImages
from cryolatent.data.relion import open_star, pixel_sizes_angstrom, unique_ids
from cryolatent.data.stack import ParticleStack, original_names
from cryolatent.data.statistics import StackStatistics, scan
from cryolatent.data.twins import twin_of

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
    "Twin",
    "open_star",
    "original_names",
    "pixel_sizes_angstrom",
    "scan",
    "twin_of",
    "unique_ids",
]
