"""One training step: images, forward and backward pass, SGD, running sums. No value comes back to the host."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from noisygce.errors import UserCodeError, defined
from noisygce.losses import Loss
from noisygce.schedule import Schedule
from noisygce.training import bf16, dropout
from noisygce.training.cuda_graph import Captured, Pool
from noisygce.training.device import change
from noisygce.training.evaluate import autocast
from noisygce.training.images import BatchSpec, Images
from noisygce.training.moving_average import MovingAverage
from noisygce.training.own_loss import repeatable


class Step:
    """Trains the network on one batch a call.

    Everything a step changes is a tensor in ``state``: weights, momenta, batch norm statistics and the sums of the
    epoch so far, so that a copy of those tensors is a copy of the training.

    compile: batches of full size go through the network as Inductor compiles it, which rounds differently; others
    never, since each size would be compiled anew. pool: memory of the CUDA graph that full batches then replay;
    None: no graph.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        images: Images,
        labels: Tensor,
        schedule: Schedule,
        precision: str,
        compile: bool = False,
        pool: Pool | None = None,
    ) -> None:
        self.network, self.loss, self.images, self.labels = network, loss, images, labels
        self._forward = functools.partial(functional_call, network)
        self._full = compiled(self._forward) if compile else self._forward  # for batches of full size
        self.schedule, self.precision = schedule, precision
        trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
        self.names, self.parameters = list(trained), list[Tensor](trained.values())
        self.matrices = bf16.weight_matrices(network) if precision == "bf16" and bf16.is_plain(network) else {}
        # Batch norm counts its calls, one kernel a layer: here it counts on the host, and one kernel counts for all.
        # That of a frozen network stays in eval mode, and counts nothing.
        layers = network.train().named_modules()
        found = ((f"{name}.num_batches_tracked", layer) for name, layer in layers if layer.training)
        buffers = dict(network.named_buffers())
        self.counters = {name: buffers[name] for name, _ in found if name in buffers}
        self._on_host = {name: torch.zeros((), dtype=torch.int64) for name in self.counters}
        device = labels.device
        self.kept = torch.ones(len(labels), dtype=torch.bool, device=device)  # (N,) the samples that count
        self.momenta = [torch.zeros_like(p) for p in self.parameters]
        self._average = MovingAverage(network.state_dict() if schedule.ema is not None else {})
        self.ema = self._average.tensors
        # By the names of parameters, not of the state_dict: of a weight that stands in two places there is one.
        own = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        self.teachers = MovingAverage(own) if loss.teacher_decay() is not None else None
        self.lr = torch.zeros((), device=device)
        self.learned = loss.learned()  # by the loss
        self.learned_momenta = {k: torch.zeros_like(each.tensor) for k, each in self.learned.items() if each.momentum}
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self.steps = torch.zeros((), dtype=torch.int64, device=device)
        self.good_steps = torch.zeros((), dtype=torch.int64, device=device)  # before the first non-finite loss
        self.predictions = torch.full_like(labels, -1)  # (N,) each sample's class when last trained on in this epoch
        self.predictions_before = self.predictions.clone()  # (N,) of the epoch before
        self._tries = 0  # of the loss
        self._train: Callable[..., None] = self._on
        if pool:
            self._train = Captured(self._on, schedule.batch_size, lambda: self.state().values(), pool, self._forget)

    def state(self) -> dict[str, Tensor]:
        """Every tensor that an epoch changes, by name; the tensors themselves, not copies."""
        sums = ("kept", "loss_sum", "steps", "good_steps", "predictions", "predictions_before")
        own = {name: getattr(self, name) for name in sums}
        own |= {f"dropout.{name}": tensor for name, tensor in dropout.calls(self.network).items()}
        own |= {f"loss.{name}": tensor for name, tensor in self.loss.state().items()}
        return self.weights() | own | {f"loss_momentum.{name}": m for name, m in self.learned_momenta.items()}

    def weights(self) -> dict[str, Tensor]:
        """Weights, batch norm statistics, momenta and moving averages by name."""
        momenta = {f"momentum.{name}": m for name, m in zip(self.names, self.momenta, strict=True)}
        network = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        average = {f"ema.{name}": tensor for name, tensor in self.ema.items()}
        teachers = self.teachers.tensors if self.teachers else {}
        return network | momenta | average | {f"teachers.{name}": tensor for name, tensor in teachers.items()}

    def evaluated(self) -> dict[str, Tensor]:
        """Weights and batch norm statistics of the model that is evaluated: the trained one, or its moving average."""
        return self.ema or self.network.state_dict()

    def finite(self) -> Tensor:
        """Whether all weights are finite; it stays on the device."""
        return torch.stack([p.detach().isfinite().all() for p in self.parameters]).all()

    def start_epoch(self, epoch: int) -> None:
        self.lr.fill_(self.schedule.lr_of(epoch))
        self.loss.start_epoch(epoch)
        for total in (self.loss_sum, self.steps, self.good_steps):
            total.zero_()
        self.predictions_before.copy_(self.predictions)
        self.predictions.fill_(-1)

    def __call__(self, draw: BatchSpec) -> None:
        draw = self.images.fetched(draw)
        self._names = draw.names()  # the same for all batches
        if self._tries == 2:
            self._train(*draw.tensors())
            return
        with repeatable(self.loss, first=self._tries == 0):
            self._train(*draw.tensors())
        self._tries += 1

    def _on(self, *tensors: Tensor) -> None:
        draw = BatchSpec(**dict(zip(self._names, tensors, strict=True)))
        index = draw.index
        forward = self._full if len(index) == self.schedule.batch_size else self._forward
        weights = (
            dict(zip(self.matrices, bf16.Cast.apply(*self.matrices.values()), strict=True)) if self.matrices else {}
        )
        with autocast(index.device.type, self.precision):
            logits = forward(weights | self._on_host, (self.images.crop(draw),))
        logits = logits.float()
        if self.teachers:
            self._observe(forward, self.teachers, draw)
        loss = self._losses(logits, draw).mean()
        if not loss.requires_grad:
            raise UserCodeError(f"{defined(type(self.loss))}: its values have no gradient; is there a detach() in it?")
        loss.backward()
        self._check_gradients()
        with torch.no_grad():
            if self.schedule.clip_norm is not None:
                # torch.nn.utils.clip_grad_norm_, but for foreach, which copies from the host. The norm is not read.
                norm = get_total_norm([p.grad for p in self.parameters], foreach=False)  # type: ignore[misc]
                clip_grads_with_norm_(self.parameters, self.schedule.clip_norm, norm)
            torch._fused_sgd_(
                self.parameters,
                [p.grad for p in self.parameters],  # type: ignore[misc]
                self.momenta if self.schedule.momentum else [],  # as the kernel wants it
                weight_decay=self.schedule.weight_decay,
                momentum=self.schedule.momentum,
                lr=self.lr,
                dampening=0.0,
                nesterov=self.schedule.nesterov,
                maximize=False,
                is_first_step=False,
            )
            self._learn()
            self._forget()
            if self.counters:
                torch._foreach_add_(list(self.counters.values()), 1)
            if self.schedule.ema is not None:
                self._average.update(self.schedule.ema)
            if self.teachers and (decay := self.loss.teacher_decay()) is not None:
                self.teachers.update(decay)
            self.steps += 1
            self.loss_sum += loss.detach()
            self.good_steps += self.loss_sum - self.loss_sum == 0  # once infinite or NaN, a sum remains so
            # Of the first view or network. Each sample comes once an epoch, so that adding to -1 sets it: without the
            # sorting by which CUDA makes an indexed assignment repeatable.
            self.predictions.scatter_add_(0, index, logits.detach()[: len(index)].argmax(1) + 1)

    def _observe(self, forward: Callable[..., Tensor], teachers: MovingAverage, draw: BatchSpec) -> None:
        """Shows the teachers the images of a batch before they are mixed, and the loss what the teachers give."""
        with torch.no_grad(), autocast(draw.index.device.type, self.precision):
            logits = forward(teachers.tensors | self._on_host, (self.images.crop(replace(draw, partner=None)),))
        self.loss.observe(logits.float(), draw.index)

    def _losses(self, logits: Tensor, draw: BatchSpec) -> Tensor:
        """The loss of each image (B,). A sample that is not kept has weight 0; the mean counts it all the same."""
        index, labels = draw.index, self.labels[draw.index]
        if self.loss.mixes_labels and draw.partner is not None and draw.weight is not None:
            return self._kept(self.loss.of_mixed(logits, labels, index, draw.partner, draw.weight), index)
        return draw.mixed(lambda at: self._kept(self.loss.of_batch(logits, labels[at], index[at]), index[at]))

    def _kept(self, losses: Tensor, index: Tensor) -> Tensor:
        if losses.shape != index.shape:
            shape = tuple(losses.shape)
            raise UserCodeError(f"{defined(type(self.loss))} gives {shape}, not the loss of each sample (B,)")
        return losses.where(self.kept[index], 0)

    def _check_gradients(self) -> None:
        """Raises UserCodeError where a weight has no gradient, so that weight decay alone would train it."""
        for name, parameter in zip(self.names, self.parameters, strict=True):
            if parameter.grad is None:
                raise UserCodeError(
                    f"the weight {name} takes no part in the loss; requires_grad_(False) keeps it as it is"
                )

    def _learn(self) -> None:
        """A step of SGD of what the loss learns."""
        for name, each in self.learned.items():
            step = each.tensor.grad
            if step is None:
                raise UserCodeError(f"{defined(type(self.loss))}: {name}, which it learns, has no gradient")
            if each.momentum:
                step = self.learned_momenta[name].mul_(each.momentum).add_(step)
            each.tensor.sub_(step * (each.lr * self.lr) if each.follows else step * each.lr)
            if each.low > -math.inf:
                each.tensor.clamp_(min=each.low)

    def _forget(self) -> None:
        """Drops the gradients."""
        self.network.zero_grad(set_to_none=True)
        for each in self.learned.values():
            each.tensor.grad = None


def compiled(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The forward pass as Inductor compiles it for the first size of batch that it sees."""
    from torch._dynamo import config as dynamo
    from torch._inductor import config

    # Without this, torch up to 2.13 compiles the backward pass of a convolution for the wrong layout.
    change(config, "force_layout_optimization", True)
    change(config, "deterministic", True)  # it may choose reductions by timing, and bits change between processes
    # Otherwise a run could silently go uncompiled, because of what the process has compiled before.
    change(dynamo, "fail_on_recompile_limit_hit", True)
    for limit in ("recompile_limit", "accumulated_recompile_limit"):  # runs of a process are compiled from one function
        change(dynamo, limit, 10_000)
    return torch.compile(forward, dynamic=False)
