"""Heterogeneous cryo-EM reconstruction in which latent inference can be swapped and tested."""

__version__ = "0.1.0"
