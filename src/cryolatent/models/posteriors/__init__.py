"""Posteriors: who believes what of a latent, one file each, all under one contract."""

from cryolatent.models.posteriors.base import Posterior
from cryolatent.models.posteriors.encoder import Encoder
from cryolatent.models.posteriors.exact import Categorical, ExactGaussian
from cryolatent.models.posteriors.features import Features, FourierFeatures, PixelFeatures
from cryolatent.models.posteriors.fitted import Fitted
from cryolatent.models.posteriors.points import PointTable
from cryolatent.models.posteriors.semi_amortized import SemiAmortized
from cryolatent.models.posteriors.table import LookupTable

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
