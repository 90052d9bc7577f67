"""Typical wrong answers to the assignments: what students write, the hint that it gets, the points it keeps.

By assignment and question, for each answer: the key of the hint, the tests that it passes, and the code.
"""

WRONG = {
    "spaces": {
        "rgb_to_ycbcr": [
            ("equal weights", [], """
def rgb_to_ycbcr(rgb):
    y = rgb.mean(0)
    return torch.stack([y, (rgb[2] - y) / 1.772 + 0.5, (rgb[0] - y) / 1.402 + 0.5])
"""),
            ("bt709", [], """
def rgb_to_ycbcr(rgb):
    y = 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]
    return torch.stack([y, (rgb[2] - y) / 1.772 + 0.5, (rgb[0] - y) / 1.402 + 0.5])
"""),
            ("swapped chroma", ["luma"], """
def rgb_to_ycbcr(rgb):
    y = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
    return torch.stack([y, (rgb[0] - y) / 1.402 + 0.5, (rgb[2] - y) / 1.772 + 0.5])
"""),
            ("no offset", ["luma"], """
def rgb_to_ycbcr(rgb):
    y = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
    return torch.stack([y, (rgb[2] - y) / 1.772, (rgb[0] - y) / 1.402])
"""),
            ("one scale", ["luma"], """
def rgb_to_ycbcr(rgb):
    y = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
    return torch.stack([y, (rgb[2] - y) / 1.772 + 0.5, (rgb[0] - y) / 1.772 + 0.5])
"""),
            ("nothing", [], """
def rgb_to_ycbcr(rgb):
    y = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
    torch.stack([y, (rgb[2] - y) / 1.772 + 0.5, (rgb[0] - y) / 1.402 + 0.5])
"""),
        ],
        "scale_chroma": [
            ("lightness too", [], """
def scale_chroma(rgb, strength):
    return color.lab_to_rgb(strength * color.rgb_to_lab(rgb), clip=True)
"""),
            ("in RGB", [], """
def scale_chroma(rgb, strength):
    return (strength * rgb).clamp(0, 1)
"""),
            ("around luma", [], """
def scale_chroma(rgb, strength):
    y = (0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2])[None]
    return (y + strength * (rgb - y)).clamp(0, 1)
"""),
            ("not clipped", ["weaker"], """
def scale_chroma(rgb, strength):
    lab = color.rgb_to_lab(rgb)
    lab[1:] *= strength
    return color.lab_to_rgb(lab, clip=False)
"""),
        ],
        "colorfulness": [
            ("absolute", ["one_hue"], """
def colorfulness(rgb):
    r, g, b = 255 * rgb
    rg, yb = (r - g).abs(), ((r + g) / 2 - b).abs()
    spread = (rg.var(correction=0) + yb.var(correction=0)).sqrt()
    return spread + 0.3 * (rg.mean() ** 2 + yb.mean() ** 2).sqrt()
"""),
            ("sample variance", ["one_hue"], """
def colorfulness(rgb):
    r, g, b = 255 * rgb
    rg, yb = r - g, (r + g) / 2 - b
    return (rg.var() + yb.var()).sqrt() + 0.3 * (rg.mean() ** 2 + yb.mean() ** 2).sqrt()
"""),
            ("not times 255", [], """
def colorfulness(rgb):
    r, g, b = rgb
    rg, yb = r - g, (r + g) / 2 - b
    spread = (rg.var(correction=0) + yb.var(correction=0)).sqrt()
    return spread + 0.3 * (rg.mean() ** 2 + yb.mean() ** 2).sqrt()
"""),
            ("no means", [], """
def colorfulness(rgb):
    r, g, b = 255 * rgb
    return ((r - g).var(correction=0) + ((r + g) / 2 - b).var(correction=0)).sqrt()
"""),
        ],
    },
    "som": {
        "nearest": [
            ("farthest", [], """
def nearest(data, neurons):
    return ((data[:, None] - neurons) ** 2).sum(-1).argmax(1)
"""),
            ("absolute distance", [], """
def nearest(data, neurons):
    return (data[:, None] - neurons).abs().sum(-1).argmin(1)
"""),
            ("dot product", [], """
def nearest(data, neurons):
    return (data @ neurons.T).argmax(1)
"""),
            ("other direction", [], """
def nearest(data, neurons):
    return ((data[:, None] - neurons) ** 2).sum(-1).argmin(0)
"""),
        ],
        "neighborhood": [
            ("no two", ["peak"], """
def neighborhood(rows, columns, winner, radius):
    k = torch.arange(rows * columns)
    d2 = (k // columns - winner // columns) ** 2 + (k % columns - winner % columns) ** 2
    return torch.exp(-d2 / radius**2)
"""),
            ("along the list", ["peak"], """
def neighborhood(rows, columns, winner, radius):
    d = torch.arange(rows * columns) - winner
    return torch.exp(-(d**2) / (2 * radius**2))
"""),
            ("rows for columns", ["peak"], """
def neighborhood(rows, columns, winner, radius):
    k = torch.arange(rows * columns)
    d2 = (k // rows - winner // rows) ** 2 + (k % rows - winner % rows) ** 2
    return torch.exp(-d2 / (2 * radius**2))
"""),
            ("hard window", ["peak"], """
def neighborhood(rows, columns, winner, radius):
    k = torch.arange(rows * columns)
    d2 = (k // columns - winner // columns) ** 2 + (k % columns - winner % columns) ** 2
    return (d2 <= radius**2).float()
"""),
        ],
        "som_step": [
            ("in place", ["toward"], """
def som_step(neurons, color, rows, columns, rate, radius):
    winner = ((neurons - color) ** 2).sum(1).argmin()
    k = torch.arange(rows * columns)
    d2 = (k // columns - winner // columns) ** 2 + (k % columns - winner % columns) ** 2
    neurons += rate * torch.exp(-d2 / (2 * radius**2))[:, None] * (color - neurons)
    return neurons
"""),
            ("away", ["untouched"], """
def som_step(neurons, color, rows, columns, rate, radius):
    winner = ((neurons - color) ** 2).sum(1).argmin()
    k = torch.arange(rows * columns)
    d2 = (k // columns - winner // columns) ** 2 + (k % columns - winner % columns) ** 2
    return neurons + rate * torch.exp(-d2 / (2 * radius**2))[:, None] * (neurons - color)
"""),
            ("winner alone", ["untouched"], """
def som_step(neurons, color, rows, columns, rate, radius):
    moved = neurons.clone()
    winner = ((neurons - color) ** 2).sum(1).argmin()
    moved[winner] += rate * (color - moved[winner])
    return moved
"""),
            ("no rate", ["untouched"], """
def som_step(neurons, color, rows, columns, rate, radius):
    winner = ((neurons - color) ** 2).sum(1).argmin()
    k = torch.arange(rows * columns)
    d2 = (k // columns - winner // columns) ** 2 + (k % columns - winner % columns) ** 2
    return neurons + torch.exp(-d2 / (2 * radius**2))[:, None] * (color - neurons)
"""),
        ],
    },
    "classes": {
        "soft_encode": [
            ("one-hot", ["sums"], """
def soft_encode(ab, bins, k, sigma):
    d = torch.cdist(ab, bins)
    return torch.nn.functional.one_hot(d.argmin(1), len(bins)).float()
"""),
            ("all bins", ["sums"], """
def soft_encode(ab, bins, k, sigma):
    w = torch.exp(-(torch.cdist(ab, bins) ** 2) / (2 * sigma**2))
    return w / w.sum(1, keepdim=True)
"""),
            ("not normalized", [], """
def soft_encode(ab, bins, k, sigma):
    d, i = torch.cdist(ab, bins).topk(k, largest=False)
    return torch.zeros(len(ab), len(bins)).scatter(1, i, torch.exp(-(d**2) / (2 * sigma**2)))
"""),
            ("no two", ["sums"], """
def soft_encode(ab, bins, k, sigma):
    d, i = torch.cdist(ab, bins).topk(k, largest=False)
    w = torch.exp(-(d**2) / sigma**2)
    return torch.zeros(len(ab), len(bins)).scatter(1, i, w / w.sum(1, keepdim=True))
"""),
        ],
        "rebalancing_weights": [
            ("no mix", ["expected"], """
def rebalancing_weights(prior, mix):
    w = 1 / prior
    return w / (prior * w).sum()
"""),
            ("mix turned around", ["expected"], """
def rebalancing_weights(prior, mix):
    w = 1 / (mix * prior + (1 - mix) / len(prior))
    return w / (prior * w).sum()
"""),
            ("sum to one", ["ratios"], """
def rebalancing_weights(prior, mix):
    w = 1 / ((1 - mix) * prior + mix / len(prior))
    return w / w.sum()
"""),
            ("not normalized", ["ratios"], """
def rebalancing_weights(prior, mix):
    return 1 / ((1 - mix) * prior + mix / len(prior))
"""),
        ],
        "annealed_mean": [
            ("times T", ["mean"], """
def annealed_mean(logits, bins, temperature):
    return (logits * temperature).softmax(-1) @ bins
"""),
            ("mode", [], """
def annealed_mean(logits, bins, temperature):
    return bins[logits.argmax(-1)]
"""),
            ("softmax twice", [], """
def annealed_mean(logits, bins, temperature):
    return (logits.softmax(-1) / temperature).softmax(-1) @ bins
"""),
            ("nan", ["mean", "sharper"], """
def annealed_mean(logits, bins, temperature):
    w = torch.exp(logits / temperature)
    return w / w.sum(-1, keepdim=True) @ bins
"""),
        ],
    },
    "sampler": {
        "causal_mask": [
            ("other kind", [], """
def causal_mask(size, kind):
    mask = torch.zeros(size, size)
    mask[: size // 2] = 1
    mask[size // 2, : size // 2] = 1
    mask[size // 2, size // 2] = kind == "A"
    return mask
"""),
            ("whole row", [], """
def causal_mask(size, kind):
    mask = torch.zeros(size, size)
    mask[: size // 2 + 1] = 1
    mask[size // 2, size // 2] = kind == "B"
    return mask
"""),
            ("transposed", [], """
def causal_mask(size, kind):
    mask = torch.zeros(size, size)
    mask[: size // 2] = 1
    mask[size // 2, : size // 2] = 1
    mask[size // 2, size // 2] = kind == "B"
    return mask.T
"""),
        ],
        "masked_conv": [
            ("unmasked", [], """
def masked_conv(x, weight, mask):
    return F.conv2d(x, weight, padding=weight.shape[-1] // 2)
"""),
            ("no padding", [], """
def masked_conv(x, weight, mask):
    return F.conv2d(x, weight * mask)
"""),
            ("in place", ["values"], """
def masked_conv(x, weight, mask):
    weight *= mask
    return F.conv2d(x, weight, padding=weight.shape[-1] // 2)
"""),
            ("no gradient", ["values"], """
def masked_conv(x, weight, mask):
    return F.conv2d(x.detach(), weight * mask, padding=weight.shape[-1] // 2)
"""),
        ],
        "sample": [
            ("one pass", ["frequencies", "repeats"], """
def sample(model, count, height, width, generator):
    levels = torch.zeros(count, height, width, dtype=torch.int64)
    p = model(levels).softmax(1)
    for r in range(height):
        for c in range(width):
            levels[:, r, c] = torch.multinomial(p[:, :, r, c], 1, generator=generator)[:, 0]
    return levels
"""),
            ("by columns", ["frequencies", "repeats"], """
def sample(model, count, height, width, generator):
    levels = torch.zeros(count, height, width, dtype=torch.int64)
    for c in range(width):
        for r in range(height):
            p = model(levels)[:, :, r, c].softmax(1)
            levels[:, r, c] = torch.multinomial(p, 1, generator=generator)[:, 0]
    return levels
"""),
            ("argmax", ["order"], """
def sample(model, count, height, width, generator):
    levels = torch.zeros(count, height, width, dtype=torch.int64)
    for r in range(height):
        for c in range(width):
            levels[:, r, c] = model(levels)[:, :, r, c].argmax(1)
    return levels
"""),
            ("own chance", ["order", "frequencies"], """
def sample(model, count, height, width, generator):
    levels = torch.zeros(count, height, width, dtype=torch.int64)
    for r in range(height):
        for c in range(width):
            p = model(levels)[:, :, r, c].softmax(1)
            levels[:, r, c] = torch.multinomial(p, 1)[:, 0]
    return levels
"""),
        ],
    },
    "masked": {
        "mask_loss": [
            ("no mask", ["inside"], """
def mask_loss(painted, ab, mask):
    return ((painted - ab) ** 2).sum(1).mean()
"""),
            ("inside only", ["inside"], """
def mask_loss(painted, ab, mask):
    return (((painted - ab) * mask) ** 2).sum(1).mean()
"""),
            ("mean over channels", [], """
def mask_loss(painted, ab, mask):
    return ((painted - ab * mask) ** 2).mean()
"""),
            ("absolute", [], """
def mask_loss(painted, ab, mask):
    return (painted - ab * mask).abs().sum(1).mean()
"""),
        ],
        "discriminator_loss": [
            ("labels swapped", [], """
def discriminator_loss(real, fake):
    return (F.softplus(real).mean() + F.softplus(-fake).mean()) / 2
"""),
            ("no half", [], """
def discriminator_loss(real, fake):
    return F.softplus(-real).mean() + F.softplus(fake).mean()
"""),
            ("sigmoid twice", [], """
def discriminator_loss(real, fake):
    real, fake = real.sigmoid(), fake.sigmoid()
    bce = F.binary_cross_entropy_with_logits
    return (bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))) / 2
"""),
            ("nan", ["value"], """
def discriminator_loss(real, fake):
    return -(real.sigmoid().log().mean() + (1 - fake.sigmoid()).log().mean()) / 2
"""),
        ],
        "generator_loss": [
            ("saturating", [], """
def generator_loss(fake, painted, ab, mask, weight):
    loss = ((painted - ab * mask) ** 2).sum(1).mean()
    return -F.softplus(fake).mean() + weight * loss
"""),
            ("no mask loss", ["game"], """
def generator_loss(fake, painted, ab, mask, weight):
    return F.softplus(-fake).mean()
"""),
            ("weight on the game", [], """
def generator_loss(fake, painted, ab, mask, weight):
    loss = ((painted - ab * mask) ** 2).sum(1).mean()
    return weight * F.softplus(-fake).mean() + loss
"""),
            ("no gradient", ["game", "both"], """
def generator_loss(fake, painted, ab, mask, weight):
    loss = ((painted - ab * mask) ** 2).sum(1).mean()
    return F.softplus(-fake.detach()).mean() + weight * loss
"""),
        ],
    },
    "capstone": {
        "colorize": [
            ("gray", ["picture", "lightness"], """
def colorize(gray):
    return gray.repeat(1, 3, 1, 1)
"""),
            ("one color", ["picture", "lightness", "better_than_gray"], """
def colorize(gray):
    lab = color.rgb_to_lab(gray.repeat(1, 3, 1, 1))
    lab[:, 1], lab[:, 2] = 0.0, 8.0
    return color.lab_to_rgb(color.fit_gamut(lab), clip=True)
"""),
            ("worse than gray", ["picture", "lightness"], """
def colorize(gray):
    lab = color.rgb_to_lab(gray.repeat(1, 3, 1, 1))
    lab[:, 1], lab[:, 2] = 60.0, -40.0
    return color.lab_to_rgb(color.fit_gamut(lab), clip=True)
"""),
            ("lightness", ["picture"], """
def colorize(gray):
    lab = color.rgb_to_lab(gray.repeat(1, 3, 1, 1))
    lab[:, 0] = 0.5 * lab[:, 0]
    return color.lab_to_rgb(lab, clip=True)
"""),
            ("0 to 255", [], """
def colorize(gray):
    return 255 * gray.repeat(1, 3, 1, 1)
"""),
            ("outside", [], """
def colorize(gray):
    lab = color.rgb_to_lab(gray.repeat(1, 3, 1, 1))
    lab[:, 2] = 90.0
    return color.lab_to_rgb(lab, clip=False)
"""),
            ("channels last", [], """
def colorize(gray):
    return gray.repeat(1, 3, 1, 1).movedim(1, -1)
"""),
            ("ab alone", [], """
def colorize(gray):
    return torch.zeros_like(gray).repeat(1, 2, 1, 1)
"""),
            ("one picture", [], """
def colorize(gray):
    return gray[:1].repeat(len(gray), 3, 1, 1)
"""),
            ("shape", [], """
def colorize(gray):
    return gray[0].repeat(3, 1, 1)
"""),
        ],
    },
}  # fmt: skip
