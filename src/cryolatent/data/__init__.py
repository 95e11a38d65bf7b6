"""Particles, their observations, and the batches that training draws from them."""

from cryolatent.data.batch import Batch, Evidence, Twin
from cryolatent.data.digits import DigitSet, open_digits
from cryolatent.data.filtered import Filtered, FilteredImages, FilteredStack, FilteredTogether
from cryolatent.data.images import ImageSource, MrcImages
from cryolatent.data.relion import open_star, pixel_sizes_angstrom, unique_ids
from cryolatent.data.source import Domain, Geometry, Source, original_names
from cryolatent.data.stack import ParticleStack
from cryolatent.data.statistics import StackStatistics, scan
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
    "MrcImages",
    "ParticleStack",
    "Source",
    "StackStatistics",
    "Twin",
    "open_digits",
    "open_star",
    "original_names",
    "pixel_sizes_angstrom",
    "scan",
    "twin_of",
    "unique_ids",
]
