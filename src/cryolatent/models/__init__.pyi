from .decoders import (
    Decoder,
    HartleyDecoder,
    MlpDecoder,
    PixelDecoder,
    SubspaceDecoder,
)
from .distributions import (
    Delta,
    DiagonalNormal,
    Distribution,
    FullNormal,
    OneOf,
)
from .generative import GenerativeModel
from .likelihood import Bernoulli, FourierGaussian, Likelihood
from .objective import (
    LossTerms,
    NegativeElbo,
    Objective,
    ReportObjective,
    SummedElbo,
)
from .posteriors import (
    Categorical,
    Encoder,
    ExactGaussian,
    Features,
    Fitted,
    FourierFeatures,
    LookupTable,
    PixelFeatures,
    PointTable,
    Posterior,
    SemiAmortized,
)

__all__ = [
    "Bernoulli",
    "Categorical",
    "Decoder",
    "Delta",
    "DiagonalNormal",
    "Distribution",
    "Encoder",
    "ExactGaussian",
    "Features",
    "Fitted",
    "FourierFeatures",
    "FourierGaussian",
    "FullNormal",
    "GenerativeModel",
    "HartleyDecoder",
    "Likelihood",
    "LookupTable",
    "LossTerms",
    "MlpDecoder",
    "NegativeElbo",
    "Objective",
    "OneOf",
    "PixelDecoder",
    "PixelFeatures",
    "PointTable",
    "Posterior",
    "ReportObjective",
    "SemiAmortized",
    "SubspaceDecoder",
    "SummedElbo",
]
