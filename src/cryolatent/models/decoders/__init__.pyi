from .base import Decoder
from .mlp import HartleyDecoder, MlpDecoder
from .pixel import PixelDecoder
from .subspace import SubspaceDecoder

__all__ = ["Decoder", "HartleyDecoder", "MlpDecoder", "PixelDecoder", "SubspaceDecoder"]
