"""The published systems, one file each; one with a ``command`` is found here and by the command line."""

import importlib
import pkgutil

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")

from colorlib.models.base import MODELS, Colorizer  # noqa: E402
from colorlib.models.blocks import (  # noqa: E402
    ImageDiscriminator,
    PatchDiscriminator,
    ResNetGenerator,
    UNet,
    joint_bilateral,
)
from colorlib.models.condition import ConditionNetwork  # noqa: E402
from colorlib.models.deep import daisy  # noqa: E402
from colorlib.models.losses import (  # noqa: E402
    discriminator_accuracy,
    discriminator_loss,
    generator_loss,
    sparse_cross_entropy,
)
from colorlib.models.pixcolor import Refinement  # noqa: E402
from colorlib.models.pixcolor_settings import PixColorSettings  # noqa: E402
from colorlib.models.pixelcnn import PixelCNN  # noqa: E402
from colorlib.models.segmentation import SegmentationNetwork  # noqa: E402

globals().update({kind.__name__: kind for kind in MODELS.values()})
__all__ = [  # noqa: PLE0604
    *(kind.__name__ for kind in MODELS.values()),
    "Colorizer",
    "ConditionNetwork",
    "ImageDiscriminator",
    "PatchDiscriminator",
    "PixColorSettings",
    "PixelCNN",
    "Refinement",
    "ResNetGenerator",
    "SegmentationNetwork",
    "UNet",
    "daisy",
    "discriminator_accuracy",
    "discriminator_loss",
    "generator_loss",
    "joint_bilateral",
    "sparse_cross_entropy",
]
