"""Losses that more than one system uses.

Each raises TypeError or ValueError for tensors of another kind or shape, for none, and for another word.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from colorlib._check import choice, floating, inside, integers, seen


class _SparseCrossEntropy(torch.autograd.Function):
    # Written out, so that one tensor of the logits' size is made in each direction and none is kept between
    # them: recorded step by step, log-softmax and gather would need three.

    @staticmethod
    def forward(ctx, logits, indices, weights):
        normalizer = logits.logsumexp(1, keepdim=True)
        ctx.save_for_backward(logits, normalizer, indices, weights)
        total = weights.sum(1, keepdim=True)
        return (total * normalizer - (weights * logits.gather(1, indices)).sum(1, keepdim=True)).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        logits, normalizer, indices, weights = ctx.saved_tensors
        # The well-known gradient of cross entropy: predicted minus wanted probabilities.
        predicted = (logits - normalizer).exp_().mul_(weights.sum(1, keepdim=True))
        predicted.scatter_add_(1, indices, -weights)
        return predicted.mul_(gradient.unsqueeze(1)), None, None


def sparse_cross_entropy(logits: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    """Cross entropy against soft targets of which all but k classes are 0, without a map of all classes.

    At each pixel it is minus the sum over the k classes of weight times log probability, in nats: logits (B,
    Q, H, W), classes (B, k, H, W) int64 in [0, Q), see :func:`colorlib.color.soft_encode`, and their weights,
    which get no gradient, to (B, H, W), float32, or float64 where the logits are. It can be differentiated
    once. On a GPU, where looking would mean waiting, nobody looks whether there are such classes.

    Source: Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, equation 2.

    >>> sparse_cross_entropy(torch.zeros(1, 2, 1, 1), torch.tensor([[[[0]]]]), torch.ones(1, 1, 1, 1)).item()
    0.693...
    """
    batch, classes, height, width = floating(logits, "logits", "(B, Q, H, W)", empty=False).shape
    integers(indices, "indices", f"({batch}, k, {height}, {width})", only=torch.int64)
    floating(weights, "weights", str(tuple(indices.shape)))
    if seen(indices):
        inside(indices, "indices", 0, classes - 1)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return _SparseCrossEntropy.apply(logits, indices, weights.detach().to(logits.dtype))


ADVERSARIAL = ("lsgan", "vanilla", "hinge")


def discriminator_loss(real: Tensor, fake: Tensor, kind: str = "lsgan") -> Tensor:
    """Give what a discriminator's mistakes cost: half the cost on true pictures, half on generated ones.

    Scores of any shape, one a picture or one a patch, to a scalar, their mean. ``"lsgan"``: the squared
    distance of a score to 1 for true and to 0 for generated. ``"vanilla"``: the cross entropy in nats, the
    score being the logit of the probability that the picture is true. ``"hinge"``: how far a true one's score
    lies below 1, and a generated one's above -1; beyond these nothing.

    Sources: Mao and others, "Least Squares Generative Adversarial Networks", ICCV 2017; Goodfellow and
    others, "Generative Adversarial Nets", NeurIPS 2014; Lim, Ye, "Geometric GAN", 2017 (hinge). The half is
    that of Isola and others, "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017.

    >>> discriminator_loss(torch.tensor([1.0]), torch.tensor([1.0])).item()
    0.5
    """
    real, fake, kind = _scores(real, "real"), _scores(fake, "fake"), choice(kind, "kind", ADVERSARIAL)
    if kind == "lsgan":
        return ((real - 1).square().mean() + fake.square().mean()) / 2
    if kind == "vanilla":
        return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2
    return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2


def generator_loss(fake: Tensor, kind: str = "lsgan") -> Tensor:
    """Give what it costs a generator that its pictures are not taken for true; sources as above.

    ``"lsgan"``: the squared distance of a score to 1. ``"vanilla"``: minus the logarithm of the probability
    that the picture is true, whose gradient stays strong where the discriminator is sure, unlike that of the
    logarithm of the opposite. ``"hinge"``: minus the score.

    >>> generator_loss(torch.tensor([0.0])).item()
    1.0
    """
    fake, kind = _scores(fake, "fake"), choice(kind, "kind", ADVERSARIAL)
    if kind == "lsgan":
        return (fake - 1).square().mean()
    return F.softplus(-fake).mean() if kind == "vanilla" else -fake.mean()


def discriminator_accuracy(real: Tensor, fake: Tensor, kind: str = "lsgan") -> Tensor:
    """Give the share of the scores on the right side, true and generated pictures counting one half each.

    The sides meet at 1/2 for ``"lsgan"`` and at 0 for the others. 1 is a discriminator that no picture
    deceives, 1/2 one that can't tell.
    """
    real, fake = _scores(real, "real"), _scores(fake, "fake")
    middle = 0.5 if choice(kind, "kind", ADVERSARIAL) == "lsgan" else 0.0
    return ((real > middle).float().mean() + (fake <= middle).float().mean()) / 2


def _scores(scores: Tensor, name: str) -> Tensor:
    return floating(scores, name, empty=False).float()
