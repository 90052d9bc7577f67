"""Checks of the assignment on color spaces."""

import torch

from colorlib import color
from colorlib.check.engine import Case, Mistake, Task

COLORS = torch.tensor([[1.0, 0, 0, 1, 0.2], [0, 1, 0, 1, 0.4], [0, 0, 1, 1, 0.9]])[:, None]  # (3, 1, 5)


def _weighted(weights, blue=1.772, red=1.402, offset=0.5):
    r, g, b = COLORS
    luma = weights[0] * r + weights[1] * g + weights[2] * b
    return torch.stack([luma, (b - luma) / blue + offset, (r - luma) / red + offset])


BT601 = (0.299, 0.587, 0.114)
YCBCR = Case(
    of="the YCbCr of red, green, blue, white and a bluish color, a picture of one row",
    ask=lambda f: f(COLORS.clone()),
    wanted=lambda: color.rgb_to_ycbcr(COLORS),
    wants=(
        "Wanted are three channels in the order Y, Cb, Cr. Luma is the weighted sum 0.299 R + 0.587 G + "
        "0.114 B, for the eye takes green for the brightest. Chroma tells how far blue and red are from "
        "luma, scaled to a range of one and moved so that gray has one half."
    ),
    mistakes=(
        Mistake(
            "equal weights",
            lambda: _weighted((1 / 3, 1 / 3, 1 / 3)),
            "Your numbers are those of a luma with equal weights, the plain mean of the channels. Blue "
            "then comes out as bright as green, and every picture's sky too light.",
            "The line that makes luma: each channel has a factor of its own there, and the three sum to one.",
        ),
        Mistake(
            "bt709",
            lambda: _weighted((0.2126, 0.7152, 0.0722)),
            "Your numbers are those of the weights 0.2126, 0.7152, 0.0722. They are right for another "
            "standard, BT.709, that of high-definition television.",
            "The three factors of luma. The text of the assignment states BT.601, the standard of JPEG "
            "files.",
        ),
        Mistake(
            "swapped chroma",
            lambda: _weighted(BT601)[[0, 2, 1]],
            "Your numbers are right, and two channels have changed places: what should be Cb is Cr, and the "
            "other way around. A red apple would come out blue.",
            "The line that puts the channels together, with stack. The order is Y, Cb, Cr: blue before red.",
        ),
        Mistake(
            "no offset",
            lambda: _weighted(BT601, offset=0),
            "Your chroma lies around zero, from -0.5 to 0.5. That is right as far as it goes; only the half "
            "that makes every stored number positive is missing.",
            "The two lines of chroma: after the division something is added.",
        ),
        Mistake(
            "unscaled",
            lambda: _weighted(BT601, blue=1, red=1),
            "Your chroma is the plain difference B - Y and R - Y. These differences reach 0.886 and 0.701, "
            "so the stored numbers leave the range from 0 to 1.",
            "The two differences are to be divided, each by its own number: twice the largest that it can "
            "be.",
        ),
        Mistake(
            "one scale",
            lambda: _weighted(BT601, blue=1.772, red=1.772),
            "Your Cb is right and your Cr too small: both differences are divided by the same number. Yet "
            "R - Y can't become as large as B - Y, since red weighs more in luma.",
            "The divisor of the red difference: it is twice one minus the weight of red.",
        ),
    ),
)


def _lab_scaled(strength, all_three=False, only_a=False, clip=True):
    lab = color.rgb_to_lab(COLORS * 0.6 + 0.2)
    factor = torch.tensor([strength if all_three else 1, strength, 1 if only_a else strength])
    return color.lab_to_rgb(lab * factor[:, None, None], clip=clip)


def _muted():
    return COLORS * 0.6 + 0.2


def _around_luma(strength):
    gray = torch.einsum("c,chw->hw", torch.tensor(BT601), _muted())
    return (gray + strength * (_muted() - gray)).clamp(0, 1)


def _chroma_mistakes(strength):
    return (
        Mistake(
            "lightness too",
            lambda: _lab_scaled(strength, all_three=True),
            "Your picture is the one in which L is multiplied too, so that light changes along with color. "
            "At a strength of 0 it would be black, not gray.",
            "The line with the product. It is to touch the second and the third channel of Lab only, "
            "lab[1:].",
        ),
        Mistake(
            "in RGB",
            lambda: (_muted() * strength).clamp(0, 1),
            "Your picture is the RGB multiplied by the strength, which makes it darker or lighter. In RGB "
            "light and color are mixed in all three channels.",
            "Go to Lab first, with color.rgb_to_lab, change color there, and come back with "
            "color.lab_to_rgb.",
        ),
        Mistake(
            "around luma",
            lambda: _around_luma(strength),
            "Your picture moves RGB away from its luma. That is a known quick way, and close by; but the "
            "lightness that people see changes with it, and L does not stay.",
            "Use Lab in place of the gray value: only there does L stay what it was.",
        ),
        Mistake(
            "a alone",
            lambda: _lab_scaled(strength, only_a=True),
            "Your picture has a multiplied and b as it was. So green and red change, and blue and yellow "
            "don't, and the hues turn.",
            "The line with the product: both of the two color channels belong to it.",
        ),
    )


NOT_CLIPPED = Mistake(
    "not clipped",
    lambda: _lab_scaled(4.0, clip=False),
    "Your numbers are right except that some lie outside the range from 0 to 1. Colors that strong are on no "
    "screen, and a picture viewer would wrap or refuse them.",
    "The call of color.lab_to_rgb: it has an option clip. Or clamp what it gives.",
)


def _chroma_case(strength, of, *more):
    return Case(
        of=of,
        ask=lambda f: f(_muted(), strength),
        wanted=lambda: _lab_scaled(strength),
        wants=(
            "Wanted is the same picture with a and b multiplied by the strength, and L as it was: 0 gives "
            "the gray picture, 1 the picture itself, 2 colors twice as strong. RGB that no screen can show "
            "is cut to the range from 0 to 1."
        ),
        mistakes=(*_chroma_mistakes(strength), *more),
    )


ROW = torch.tensor([[1.0, 0, 0.1, 0.9], [0, 1, 0, 0.8], [0, 0, 0.6, 0.1]])[:, None]  # (3, 1, 4)


def _colorful(change=lambda x: x, variance=0, scale=255.0, weight=0.3, half=0.5, linear=False):
    r, g, b = ROW[:, 0] * scale
    opponents = [change(r - g), change(half * (r + g) - b)]
    spread = [x.var(correction=variance) for x in opponents]
    spread = sum(s.sqrt() for s in spread) if linear else sum(spread).sqrt()
    return spread + weight * sum(x.mean() ** 2 for x in opponents).sqrt()


COLORFULNESS = Case(
    of="the colorfulness of a picture of four pixels: red, green, dark blue and yellow",
    ask=lambda f: f(ROW.clone()),
    wanted=lambda: color.colorfulness(ROW),
    wants=(
        "Wanted is one number: how far the two opponent channels rg = R - G and yb = (R + G) / 2 - B spread "
        "over the picture, plus 0.3 times how far their means are from gray. The formula counts on channels "
        "from 0 to 255. Both channels keep their signs."
    ),
    tolerance=1e-4,
    mistakes=(
        Mistake(
            "absolute",
            lambda: _colorful(torch.abs),
            "Your number is the one for absolute values of rg and yb. Then green counts as the same color "
            "as red. Much code on the web has it so, and its numbers are too small.",
            "Look for abs. A difference of colors has a sign: plus is red, minus is green.",
        ),
        Mistake(
            "sample variance",
            lambda: _colorful(variance=1),
            "Your number is the one for variances divided by n - 1. That is torch's own choice for samples; "
            "here the picture is all there is, so the divisor is the number of pixels.",
            "The options of var or std: correction=0 divides by the number of pixels.",
        ),
        Mistake(
            "not times 255",
            lambda: _colorful(scale=1.0),
            "Your number is 255 times too small. The formula was fitted to what people said of pictures "
            "whose channels run from 0 to 255, and yours run from 0 to 1.",
            "Multiply the picture by 255 as the very first step.",
        ),
        Mistake(
            "sum of deviations",
            lambda: _colorful(linear=True),
            "Your number is the one in which the two standard deviations are added. Wanted is the root of "
            "the sum of the variances, as for the two sides of a right triangle.",
            "The line of the spread: first add the two squares, then take the root.",
        ),
        Mistake(
            "no means",
            lambda: _colorful(weight=0.0),
            "Your number is the spread alone. A picture that is evenly blue would have 0 by it, and nobody "
            "would call that picture gray.",
            "The second term of the formula, 0.3 times the root of the sum of the squared means, is missing.",
        ),
        Mistake(
            "no half",
            lambda: _colorful(half=1.0),
            "Your number is the one for yb = R + G - B. Then white would count as yellow, for R + G is "
            "twice as large as B there.",
            "The definition of yb: it is the mean of red and green, less blue.",
        ),
    ),
)


def _shown(rgb):
    from colorlib import data, show

    photo = data.photos(["coffee"], max_side=160)["coffee"]
    return show.grid(*rgb(photo))


TASKS = (
    Task(
        "rgb_to_ycbcr",
        "rgb_to_ycbcr(rgb)",
        (YCBCR,),
        lambda: _shown(lambda p: ([p, *color.rgb_to_ycbcr(p)[:, None]], ["picture", "Y", "Cb", "Cr"])),
    ),
    Task(
        "scale_chroma",
        "scale_chroma(rgb, strength)",
        (
            _chroma_case(0.5, "the picture of five muted colors at a strength of 0.5"),
            _chroma_case(4.0, "the picture of five muted colors at a strength of 4", NOT_CLIPPED),
        ),
        lambda: _shown(
            lambda p: (
                [
                    color.lab_to_rgb(color.rgb_to_lab(p) * torch.tensor([1, s, s])[:, None, None], clip=True)
                    for s in (0.0, 0.5, 1.0, 2.0)
                ],
                [f"strength {s}" for s in (0, 0.5, 1, 2)],
            )
        ),
    ),
    Task(
        "colorfulness",
        "colorfulness(rgb)",
        (COLORFULNESS,),
        lambda: _shown(
            lambda p: (
                parts := [p[:, :, :40], p[:, 40:80, 60:100], p],
                [f"colorfulness {color.colorfulness(part):.0f}" for part in parts],
            )
        ),
    ),
)
