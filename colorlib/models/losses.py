"""Losses that more than one system uses."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


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

    At each pixel it is minus the sum over the k classes of weight times log probability, in nats.

    Parameters
    ----------
    logits : Tensor
        Scores of the classes, floating point, (B, Q, H, W). Half precision is computed in float32.
    indices : Tensor
        Classes whose target is not 0, int64 in [0, Q), (B, k, H, W); see :func:`colorlib.color.soft_encode`.
    weights : Tensor
        Their probabilities, (B, k, H, W). They are constants: no gradient reaches them.

    Returns
    -------
    Tensor
        Cross entropy of each pixel, (B, H, W), float32, or float64 where ``logits`` is. It can be
        differentiated once.

    Raises
    ------
    ValueError
        For shapes that do not belong together.

    Notes
    -----
    Source of the loss: Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, equation 2.
    """
    if logits.ndim != 4 or indices.shape != weights.shape or indices.ndim != 4:
        raise ValueError(
            "logits must be (B, Q, H, W), indices and weights (B, k, H, W), got "
            f"{tuple(logits.shape)}, {tuple(indices.shape)} and {tuple(weights.shape)}"
        )
    if (logits.shape[0], *logits.shape[2:]) != (indices.shape[0], *indices.shape[2:]):
        raise ValueError(
            f"logits {tuple(logits.shape)} and targets {tuple(indices.shape)} differ in batch or size"
        )
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return _SparseCrossEntropy.apply(logits, indices, weights.detach().to(logits.dtype))
