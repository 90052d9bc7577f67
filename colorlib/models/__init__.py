"""The published systems, one file each."""

from colorlib.models.base import Colorizer
from colorlib.models.cic import CIC
from colorlib.models.losses import sparse_cross_entropy
from colorlib.models.patch import PatchMLP
from colorlib.models.pixcolor import ConditionNetwork, PixColor, Refinement
from colorlib.models.pixelcnn import PixelCNN
from colorlib.models.regression import ResNetRegressor

__all__ = [
    "CIC",
    "Colorizer",
    "ConditionNetwork",
    "PatchMLP",
    "PixColor",
    "PixelCNN",
    "Refinement",
    "ResNetRegressor",
    "sparse_cross_entropy",
]
