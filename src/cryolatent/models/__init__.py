"""Decoders, posteriors, likelihoods and the objective that joins them."""

from cryolatent.models.decoders import (
    Decoder,
    HartleyDecoder,
    MlpDecoder,
    PixelDecoder,
    SubspaceDecoder,
)
from cryolatent.models.distributions import (
    Delta,
    DiagonalNormal,
    Distribution,
    FullNormal,
    OneOf,
)
from cryolatent.models.generative import GenerativeModel
from cryolatent.models.likelihood import Bernoulli, FourierGaussian, Likelihood
from cryolatent.models.objective import (
    LossTerms,
    NegativeElbo,
    Objective,
    ReportObjective,
    SummedElbo,
)
from cryolatent.models.posteriors import (
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
