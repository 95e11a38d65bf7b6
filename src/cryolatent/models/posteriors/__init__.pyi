from .base import Posterior
from .encoder import Encoder
from .exact import Categorical, ExactGaussian
from .features import Features, FourierFeatures, PixelFeatures
from .fitted import Fitted
from .points import PointTable
from .semi_amortized import SemiAmortized
from .table import LookupTable

__all__ = [
    "Categorical",
    "Encoder",
    "ExactGaussian",
    "Features",
    "Fitted",
    "FourierFeatures",
    "LookupTable",
    "PixelFeatures",
    "PointTable",
    "Posterior",
    "SemiAmortized",
]
