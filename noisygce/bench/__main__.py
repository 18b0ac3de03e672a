"""``python -m noisygce.bench``: how fast training is here, beside the plain loop of public repositories.

    python -m noisygce.bench                                 the published protocol: ResNet-34 on CIFAR-10
    python -m noisygce.bench model=resnet18 loss=elr         any run of noisygce.train
    python -m noisygce.bench parts=steps,profile rounds=9    some of the parts, more rounds

parts:  steps       a step in each mode, and of the plain loop; evaluation, epoch, whole run
        batch       images/s by batch size
        sweep       seconds until the first step: of a new process, and of the next runs in it
        concurrent  images/s of runs side by side (on a GPU)
        layers      each kind of convolution beside its floor
        profile     where the time of a step goes
rounds: of measurements, in each of which the modes take turns; medians are printed (5)

The other arguments are those of noisygce.train. All is printed, and written to results/bench/RUN-DEVICE[-PARTS].json.
"""

from __future__ import annotations

import importlib
import json
import re
import time
from collections.abc import Iterator
from typing import Any

from noisygce import check, runs, settings
from noisygce.errors import ConfigError
from noisygce.runs import atomic
from noisygce.settings import arguments
from noisygce.training import device

_PARTS = {  # which module measures it
    "steps": "steps",
    "batch": "growth",
    "sweep": "growth",
    "concurrent": "growth",
    "layers": "kernels",
    "profile": "kernels",
}


def main() -> None:
    arguments.main(answer, __doc__)


def answer(words: list[str]) -> None:
    """Measures what the arguments ask for."""
    own = dict(word.split("=", 1) for word in words if word.startswith(("parts=", "rounds=")))
    rest = [word for word in words if word.partition("=")[0] not in own]
    _, overrides = arguments.split(rest, {"parts": (), "rounds": ()})
    rounds = own.get("rounds", "5")
    if not rounds.isdigit() or not 1 <= int(rounds) <= 1000:
        raise ConfigError(f"rounds={rounds}: rounds must be an integer in [1, 1000]")
    names = own["parts"].split(",") if "parts" in own else list(_PARTS)
    for name in names:
        check.choice("parts", name, _PARTS)
    cfg = settings.compose(overrides)
    experiment = settings.read(cfg)
    experiment.data.require(experiment.paths.data)
    run = runs.run_id(runs.identity(settings.resolved(cfg)))
    for found in measure(experiment, overrides, run, int(rounds), names):  # written as it grows
        label = [found["run"], found["device"], *(names if "parts" in own else [])]
        name = re.sub(r"[^A-Za-z0-9.]+", "-", " ".join(label)).strip("-")
        path = experiment.paths.results / "bench" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_text(path, json.dumps(found, indent=1) + "\n")
    print(f"\n{path}")


def measure(
    experiment: settings.Experiment, overrides: list[str], run: str, rounds: int, parts: list[str]
) -> Iterator[dict[str, Any]]:
    """What the parts find, as plain values; once more after each of them."""
    from noisygce.bench.kernels import flop, matmul_rate
    from noisygce.bench.setting import Setting

    at = device.prepare(experiment.runtime.device, experiment.runtime.threads)
    setting = Setting(experiment, overrides, at, rounds)
    setting.flop = flop(setting)
    setting.matmul_rate = matmul_rate(at, experiment.precision)
    found: dict[str, Any] = {"run": run, "date": time.strftime("%Y-%m-%d", time.gmtime()), **device.describe(at)}
    found |= {"batch_size": experiment.schedule.batch_size, "rounds": rounds}
    found |= {"flop_a_step": setting.flop, "matmul_flop_per_s": setting.matmul_rate}
    print(
        f"{run}\non {found['device']}, {found['threads']} CPU threads, torch {found['versions']['torch']}: "
        f"{setting.flop / 1e12:.3g} TFLOP a step of {found['batch_size']} images, "
        f"matrix products at {setting.matmul_rate / 1e12:.3g} TFLOP/s in {experiment.precision}"
    )
    for part in parts:
        print()
        module = importlib.import_module(f"noisygce.bench.{_PARTS[part]}")
        found[part] = getattr(module, part)(setting)
        yield found


if __name__ == "__main__":
    main()
