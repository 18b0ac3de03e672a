#!/usr/bin/env python3
"""Prints what each loss costs a step, forward and backward, beside cross entropy in the same run.

    scripts/loss_cost.py [cpu|cuda]

Logits and labels of one batch, (128, 10) and (128, 100), float32; the median of 300 calls, the losses taken in turns so
that a change of the machine's load meets all alike. `us` is beside ce: what a step takes longer for this loss than for
ce. A loss of two views or networks also needs a second forward and backward pass, which is not in it.
"""

import sys
import time

import numpy as np
import torch

from noisygce import settings
from noisygce.losses.forward import ESTIMATES

ROUNDS = 300
device = sys.argv[1] if len(sys.argv) > 1 else "cpu"
torch.set_num_threads(1)


def bound(name: str, classes: int):
    loss = settings.read(settings.compose(["data=digits", f"loss={name}"])).loss
    transition = 0.6 * np.eye(classes) + 0.4 / classes
    loss.load_source_estimates("", dict.fromkeys(ESTIMATES, transition))
    loss.bind(samples=50_000, classes=classes, device=device, transition=transition)
    return loss


def seconds(loss, logits, labels, index) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    loss.of_batch(logits, labels, index).mean().backward()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


names = sorted(path.stem for path in (settings.config_dir() / "loss").glob("*.yaml"))
print(f"{'':16}" + "".join(f"{f'(128, {k}) / ce':>18}{'us':>8}" for k in (10, 100)))
columns = []
for classes in (10, 100):
    g = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (128,), generator=g).to(device)
    index = torch.randperm(50_000, generator=g)[:128].to(device)
    losses = {name: bound(name, classes) for name in names}
    each = {v: torch.randn(128 * v, classes, generator=g).to(device).requires_grad_() for v in (1, 2)}
    logits = {name: each[loss.views * loss.networks] for name, loss in losses.items()}
    times = {name: [seconds(x, logits[name], labels, index) for _ in range(5)][:0] for name, x in losses.items()}
    for _ in range(ROUNDS):
        for name, loss in losses.items():
            times[name].append(seconds(loss, logits[name], labels, index))
    columns.append({name: float(np.median(t)) for name, t in times.items()})
for name in names:
    print(f"{name:16}" + "".join(f"{c[name] / c['ce']:18.2f}{1e6 * (c[name] - c['ce']):8.0f}" for c in columns))
print("ce itself: " + ", ".join(f"{1e6 * c['ce']:.0f} us" for c in columns))
