from noisygce.losses.base import Loss, Tensor, log_softmax, pick


class NCE(Loss):
    """Normalised cross entropy: log p_y / sum_k log p_k, in (0, 1) (Ma et al. 2020, arXiv 2006.13554). Symmetric."""

    def per_sample(self, logits: Tensor, labels: Tensor) -> Tensor:
        log_ps = log_softmax(logits)
        return pick(log_ps, labels) / log_ps.sum(1)
