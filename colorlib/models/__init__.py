"""The published systems, one file each."""

from colorlib.models.base import Colorizer
from colorlib.models.blocks import ImageDiscriminator, PatchDiscriminator, ResNetGenerator, UNet
from colorlib.models.cic import CIC
from colorlib.models.condition import ConditionNetwork
from colorlib.models.gan import ColorGAN
from colorlib.models.losses import (
    discriminator_accuracy,
    discriminator_loss,
    generator_loss,
    sparse_cross_entropy,
)
from colorlib.models.masked import MaskedGAN
from colorlib.models.patch import PatchMLP
from colorlib.models.photo import PretrainedUNet
from colorlib.models.pixcolor import PixColor, Refinement
from colorlib.models.pixcolor_settings import PixColorSettings
from colorlib.models.pixelcnn import PixelCNN
from colorlib.models.regression import ResNetRegressor

__all__ = [
    "CIC",
    "ColorGAN",
    "Colorizer",
    "ConditionNetwork",
    "ImageDiscriminator",
    "MaskedGAN",
    "PatchDiscriminator",
    "PatchMLP",
    "PixColor",
    "PixColorSettings",
    "PixelCNN",
    "PretrainedUNet",
    "Refinement",
    "ResNetGenerator",
    "ResNetRegressor",
    "UNet",
    "discriminator_accuracy",
    "discriminator_loss",
    "generator_loss",
    "sparse_cross_entropy",
]
