"""Decoders, posteriors, likelihoods and the objective that joins them."""

from cryolatent.models.decoders import Decoder, MlpDecoder
from cryolatent.models.distributions import DiagonalNormal, Distribution
from cryolatent.models.generative import GenerativeModel
from cryolatent.models.likelihood import FourierGaussian, Likelihood
from cryolatent.models.objective import LossTerms, NegativeElbo, Objective, ReportObjective
from cryolatent.models.posteriors import Encoder, LookupTable, Posterior

__all__ = [
    "Decoder",
    "DiagonalNormal",
    "Distribution",
    "Encoder",
    "FourierGaussian",
    "GenerativeModel",
    "Likelihood",
    "LookupTable",
    "LossTerms",
    "MlpDecoder",
    "NegativeElbo",
    "Objective",
    "Posterior",
    "ReportObjective",
]
