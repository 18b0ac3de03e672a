"""``python -m noisygce.bench``: measures training speed on this machine, beside the plain loop of public code.

    python -m noisygce.bench                                 the published protocol: ResNet-34 on CIFAR-10
    python -m noisygce.bench model=resnet18 loss=elr         any run of noisygce.train
    python -m noisygce.bench parts=steps,profile rounds=9    some of the parts, more rounds

parts:  steps       a step in each mode, and of the plain loop; evaluation, epoch, whole run
        compiled    a step with compile=true, which takes minutes to compile
        profile     where the time of a step goes, by kernel
rounds: in each round the modes take turns; bench prints medians over the rounds (5)

Other arguments are those of noisygce.train. Results are printed, and written to results/bench/RUN-DEVICE[-PARTS].json.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any

from noisygce import check, runs, settings
from noisygce.data import Features
from noisygce.errors import ConfigError
from noisygce.runs import atomic
from noisygce.settings import arguments
from noisygce.training import device, hardware

_OF_ROWS = ("compile", "runtime.graph", "runtime.fused")
_PARTS = ("steps", "compiled", "profile")


def main() -> None:
    arguments.main(run, __doc__)


def run(argv: list[str]) -> None:
    """Measures what the arguments ask for; what is found is written after each part."""
    options, rest = arguments.take(argv, "parts", "rounds")
    _, overrides = arguments.split(rest, {"parts": (), "rounds": ()})
    rounds = arguments.whole("rounds", options.get("rounds", "5"), "[1, 1000]")
    parts = options["parts"].split(",") if "parts" in options else list(_PARTS)
    for part in parts:
        check.choice("parts", part, _PARTS)
    for word in overrides:
        if word.partition("=")[0] in _OF_ROWS:
            raise ConfigError(f"{word}: bench times a row with each, with parts=steps,compiled; leave it out")
    cfg = settings.compose(overrides)
    e = settings.read(cfg)
    if e.loss.source is not None:
        raise ConfigError(
            f"loss={cfg.loss.name}: starts from a finished run, which bench does not train; time another loss"
        )
    if isinstance(e.data, Features):
        raise ConfigError("data=features: the plain loop of public code is for pictures; time another data set")
    e.data.require(e.paths.data)
    from noisygce.bench import steps
    from noisygce.bench.setting import Setting

    setting = Setting(e, overrides, device.prepare(e.runtime.device, e.threads), rounds)
    found: dict[str, Any] = {
        "run": runs.run_id(runs.identity(settings.resolved(cfg))),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        **hardware.describe(setting.place),
        "batch_size": setting.batch_size,
        "rounds": setting.rounds,
        "flop_a_step": setting.flop,
        "matmul_flop_per_s": setting.matmul_rate,
    }
    show(found)
    label = " ".join([found["run"], found["device"], *(parts if "parts" in options else [])])
    path = e.paths.results / "bench" / f"{re.sub(r'[^A-Za-z0-9.]+', '-', label).strip('-')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    for part in parts:
        measure = getattr(steps, part)
        found[part] = measure(setting)
        print(f"\n{part}: {measure.__doc__}", flush=True)
        show(found[part])
        atomic.write_text(path, json.dumps(found, indent=1) + "\n")
    print(f"\n{path}")


def show(found: Any, name: str = "") -> None:
    """Prints plain values: a list of rows as a table, anything else by name."""
    import pandas as pd

    if isinstance(found, list) and found and isinstance(found[0], dict):
        table = pd.DataFrame(found).map(lambda value: f"{value:,.4g}" if isinstance(value, float) else str(value)[:70])
        print(table.to_string(index=False), flush=True)
    elif isinstance(found, dict):
        for key, value in found.items():
            show(value, f"{name}{key} ")
    else:
        print(f"{name}{found:,.4g}" if isinstance(found, float) else f"{name}{found}", flush=True)


if __name__ == "__main__":
    main()
