"""Decoders, posteriors, likelihoods and the objective that joins them.

Names are imported when they are first asked for, so that options can be read without PyTorch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
