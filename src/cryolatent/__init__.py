"""Heterogeneous cryo-EM reconstruction in which latent inference can be swapped and tested."""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
