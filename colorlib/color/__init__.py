"""What a color is: spaces, the 313 bins, colorfulness. Tensors only."""

from colorlib.color.bins import (
    ab_bins,
    annealed_mean,
    bin_prior,
    rebalancing_weights,
    smooth_prior,
    soft_encode,
)
from colorlib.color.measures import colorfulness
from colorlib.color.spaces import (
    cmyk_to_rgb,
    fit_gamut,
    hsl_to_rgb,
    hsv_to_rgb,
    lab_to_rgb,
    rgb_to_cmyk,
    rgb_to_gray,
    rgb_to_hsl,
    rgb_to_hsv,
    rgb_to_lab,
    rgb_to_ycbcr,
    rgb_to_yuv,
    ycbcr_to_rgb,
    yuv_to_rgb,
)

__all__ = [
    "ab_bins", "annealed_mean", "bin_prior", "cmyk_to_rgb", "colorfulness", "fit_gamut", "hsl_to_rgb",
    "hsv_to_rgb", "lab_to_rgb", "rebalancing_weights", "rgb_to_cmyk", "rgb_to_gray", "rgb_to_hsl",
    "rgb_to_hsv", "rgb_to_lab", "rgb_to_ycbcr", "rgb_to_yuv", "smooth_prior", "soft_encode", "ycbcr_to_rgb",
    "yuv_to_rgb",
]  # fmt: skip
