"""Command lines that cannot be run, and what each of them is told, with exit code 2 before anything is written.

A ``*`` in a message stands for anything.
"""

from __future__ import annotations

import shlex

# Section: (arguments of `python -m noisygce.train`, what it says).
TABLE: dict[str, list[tuple[str, str]]] = {
    "Values": [
        ("loss.q=0", "loss.q=0: loss.q must be a number in (0, 1]"),
        ("loss.q=nan", "loss.q=nan: loss.q must be a number in (0, 1]"),
        ("loss.q=inf", "loss.q=inf: loss.q must be a number in (0, 1]"),
        ("loss.q=true", "loss.q=true: loss.q must be a number in (0, 1]"),
        ("loss.q=null", "loss.q=null: loss.q must be a number in (0, 1]"),
        ("loss.q=abc", "loss.q=abc: loss.q must be a number in (0, 1]"),
        ("loss.q=", "loss.q=: loss.q must be a number in (0, 1]"),
        ("loss.q=[0.7]", "loss.q=[0.7]: loss.q must be a number in (0, 1]"),
        ("loss=tgce loss.k=1", "loss.k=1: loss.k must be a number in (0, 1)"),
        ("loss=tgce loss.k=0", "loss.k=0: loss.k must be a number in (0, 1)"),
        ("rate=1", "rate=1: rate must be a number in [0, 1)"),
        ("rate=-0.1", "rate=-0.1: rate must be a number in [0, 1)"),
        ("rate=40%", "rate=40%: rate must be a number in [0, 1)"),
        ("noise=clean rate=0.4", "rate=0.4: rate must be 0 with noise=clean"),
        ("noise.seed=-1", "noise.seed=-1: noise.seed must be an integer in [0, 4294967296), or null"),
        ("noise.include_true=1", "noise.include_true=1: noise.include_true must be true or false"),
        ("noise=class_map noise.map=typo", "noise.map=typo: noise.map must be next, or {class: another class, ...}"),
        ("seed=1.5", "seed=1.5: seed must be an integer in [0, 4294967296)"),
        ("seed=true", "seed=true: seed must be an integer in [0, 4294967296)"),
        ("seed=4294967296", "seed=4294967296: seed must be an integer in [0, 4294967296)"),
        ("precision=fp16", "precision=fp16: precision must be one of bf16, fp32"),
        ("model.depth=50", "model.depth=50: model.depth must be 18 or 34"),
        ("model=convnet model.width=0", "model.width=0: model.width must be an integer in [1, 4096]"),
        ("schedule.epochs=0", "schedule.epochs=0: schedule.epochs must be an integer in [1, 100000]"),
        ("schedule.epochs=ten", "schedule.epochs=ten: schedule.epochs must be an integer in [1, 100000]"),
        ("schedule.batch_size=1", "schedule.batch_size=1: schedule.batch_size must be an integer in [2, 65536]"),
        ("schedule.lr=0", "schedule.lr=0: schedule.lr must be a number in (0, 100]"),
        (
            "schedule.milestones=40",
            "schedule.milestones=40: schedule.milestones must be a list in square brackets of integers in [1, 100000]",
        ),
        ("schedule.milestones=[80,40]", "schedule.milestones=[80, 40]: schedule.milestones must be increasing"),
        ("schedule.milestones=[40,40]", "schedule.milestones=[40, 40]: schedule.milestones must be increasing"),
        (
            "schedule.milestones=[0]",
            "schedule.milestones[0]=0: schedule.milestones[0] must be an integer in [1, 100000]",
        ),
        ("schedule.annealing=linear", "schedule.annealing=linear: schedule.annealing must be one of step, cosine"),
        (
            "schedule.annealing=cosine",
            "schedule.milestones=[40, 80]: schedule.milestones must be [] where schedule.annealing=cosine",
        ),
        ("schedule.clip_norm=0", "schedule.clip_norm=0: schedule.clip_norm must be a number in (0, 1e6], or null"),
        (
            "data.validation=0 loss=tgce",
            "data.validation=0: loss=tgce needs the model that is best on noisy validation labels; hold some out, or "
            "take another loss",
        ),
        ("schedule.momentum=1", "schedule.momentum=1: schedule.momentum must be a number in [0, 1)"),
        ("schedule.weight_decay=nan", "schedule.weight_decay=nan: schedule.weight_decay must be a number in [0, 1)"),
        ("prune.mode=keep", "prune.mode=keep: prune.mode must be one of drop, mask"),
        ("prune.start=0", "prune.start=0: prune.start must be an integer in [1, 100000]"),
        ("prune.every=0", "prune.every=0: prune.every must be an integer in [1, 100000]"),
        ("data.subset=0", "data.subset=0: data.subset must be an integer in [1, 45000], or null"),
        ("data=digits data.subset=1400", "data.subset=1400: data.subset must be an integer in [1, 1350], or null"),
        (
            "data.validation=50000",
            "data.validation=50000: data.validation must be an integer in [0, 49999], or a share in (0, 1)",
        ),
        ("data.normalise=none", "data.normalise=none: data.normalise must be one of channel, pixel_mean"),
        ("data.mean=0.5", "data.mean=0.5: data.mean must be a list in square brackets of numbers in [0, 1]"),
        (
            "data=digits data.mean=[0.1,0.2]",
            "data.mean=[0.1, 0.2]: data.mean must be a list of 1, one for each channel",
        ),
        ("data.std=[0,1,1]", "data.std[0]=0: data.std[0] must be a number in (0, 1]"),
        ("data.flip=1", "data.flip=1: data.flip must be true or false"),
        ("runtime.device=gpu", "runtime.device=gpu: runtime.device must be auto, cpu, cuda or cuda:N"),
        (
            "runtime.device=mps",
            "runtime.device=mps: runtime.device must be auto or cpu, since Apple's GPU cannot repeat a run: it has no "
            "float64, in which a loss is summed, and not every kernel is deterministic",
        ),
        ("runtime.fused=yes", "runtime.fused=yes: runtime.fused must be one of auto, on, off"),
        (
            "runtime.fused=on runtime.device=cpu",
            "runtime.fused=on: runtime.fused must be auto or off where runtime.device=cpu",
        ),
        ("runtime.graph=yes", "runtime.graph=yes: runtime.graph must be one of auto, on, off"),
        (
            "runtime.device=cpu runtime.graph=on",
            "runtime.graph=on: runtime.graph must be auto or off where runtime.device=cpu",
        ),
        ("runtime.concurrent=0", "runtime.concurrent=0: runtime.concurrent must be an integer in [1, 16]"),
        ("runtime.whole_runs=3", "runtime.whole_runs=3: runtime.whole_runs must be true or false"),
        (
            "runtime.whole_runs=true",
            "runtime.whole_runs=true: runtime.whole_runs must be false where runtime.stop_after=null",
        ),
        (
            "runtime.share=2/2",
            "runtime.share=2/2: runtime.share must be i/n for worker i of n, from 0/n to (n-1)/n, or null",
        ),
        ("compile=yes", "compile=yes: compile must be true or false"),
        ("runtime.threads=0", "runtime.threads=0: runtime.threads must be an integer in [1, 1024], or null"),
        (
            "runtime.stop_after=soon",
            "runtime.stop_after=soon: runtime.stop_after must be a time such as 90s, 9m or 2h, or null",
        ),
        ("runtime.progress=bar", "runtime.progress=bar: runtime.progress must be auto, true or false"),
        ("paths.results=", "paths.results=: paths.results must be a folder"),
    ],
    "Names": [
        ("shedule.epochs=3", "shedule.epochs: there is no such key; did you mean schedule.epochs?"),
        ("data=folder data.folder=x data.labels=y.npy", "data.labels: there is no such key; there are data.folder, *"),
        ("los=gce", "los: there is no such key; did you mean loss?"),
        ("lr=0.1", "lr: there is no such key; did you mean schedule.lr?"),
        ("noise_rate=0.4", "noise_rate: there is no such key; did you mean noise?"),
        ("loss_q=0.5", "loss_q: there is no such key; did you mean loss.q?"),
        ("noise.rate=0.3", "noise.rate=0.3: the rate of the noise is set by rate=0.3"),
        ("dataset=digits", "dataset: there is no such key; did you mean data?"),
        ("loss.Q=0.5", "loss.Q: there is no such key; did you mean loss.q?"),
        ("loss.k=0.5", "loss.k: there is no such key; there are loss.q"),
        (
            "noise=pair noise.include_true=true",
            "noise.include_true: there is no such key; there are noise.seed",
        ),
        ("optimizer=adam", "optimizer: there is no such key; python -m noisygce.train --cfg job shows all keys"),
        ("+foo=1", "foo: there is no such key; python -m noisygce.train --cfg job shows all keys"),
        ("+loss.typo=1", "loss.typo=1: GCE has no such value; it has loss.q"),
        ("~loss", "loss is missing: every run needs it"),
        ("~loss.q", "loss.q is missing: GCE needs it"),
        ("loss=gcee", "loss=gcee: there is no such loss; did you mean gce?"),
        ("loss=", "loss=: there is no such loss; there are *; --config-dir FOLDER adds your own"),
        ("data=imagenet", "data=imagenet: there is no such data; there are *"),
        ("noise=symmetric", "noise=symmetric: there is no such noise; there are class_map, *, uniform; *"),
        ("experiment=demoo", "experiment=demoo: there is no such experiment; did you mean demo?"),
        ("prune=drop", "prune=drop: prune is a group of values: prune.mode, prune.start, prune.every"),
        ("name=x data=digits", "name=x: it names the plan of a sweep (-m)"),
        ("-m name=../x", "name=../x: must be 1 to 100 letters, digits, dots, _ or -, and begin with no dot"),
        ("--config-dir=/nowhere", "--config-dir /nowhere: there is no such folder"),
    ],
    "Grammar": [
        ("rate==0.4", "rate==0.4: a setting is KEY=VALUE, such as rate=0.4 (extraneous input '=')"),
        (
            "rate 0.4",
            "rate: a setting is KEY=VALUE, such as rate=0.4 (missing EQUAL at '<EOF>')",
        ),
        ("''", "'': a setting is KEY=VALUE, such as rate=0.4 (*)"),
        ("loss:gce", "loss:gce: a setting is KEY=VALUE, such as * (missing EQUAL at ':')"),
        (
            "--rate=0.4",
            "--rate=0.4: there is no such option; settings are KEY=VALUE without dashes; did you mean rate?",
        ),
        ("'rate=0.4 loss=gce'", "rate=0.4 loss=gce: a setting is KEY=VALUE, such as * (mismatched input '=')"),
        (
            "'schedule.milestones=[2'",
            "schedule.milestones=[2: a setting is KEY=VALUE, such as * (no viable alternative at input '[2')",
        ),
        ("rate=0.4,0.6", "rate=0.4,0.6: for a run with each of these values: -m rate=0.4,0.6; for a list: *"),
        (
            "data=digits schedule.milestones=10,20",
            "schedule.milestones=10,20: *; for a list: 'schedule.milestones=[10,20]'",
        ),
        (
            "paths.results=/tmp/\u00e9",
            "paths.results=/tmp/\u00e9: such a value is quoted: \"paths.results='/tmp/\u00e9'\"",
        ),
        ("paths.results=[/tmp/\u00e9]x", "paths.results=[/tmp/\u00e9]x: a setting is KEY=VALUE, such as rate=0.4 (*)"),
        ("--config-name demo", "--config-name: there is no such option; settings are KEY=VALUE without dashes*"),
        ("-cn demo", "-cn: there is no such option; settings are KEY=VALUE without dashes*"),
        ("data=digits loss = gce", "=: a setting is KEY=VALUE without spaces, such as rate=0.4"),
        ("data=digits loss.q= 0.5", "0.5: a setting is KEY=VALUE, such as rate=0.4 (*)"),
        ("data=digits rate =0.4 loss=ce", "=0.4: a setting is KEY=VALUE without spaces, such as rate=0.4"),
        ("loss=null", "loss=null: there is no such loss; leave it out for the default"),
        ("logger=null", "logger=null: there is no such logger; leave it out for the default"),
        ("logger=[wandb,foo]", "logger=foo: there is no such logger; there are mlflow, tensorboard, trackio, wandb; *"),
        (
            "-m loss=ce,gce logger=mlflow,wandb",
            "logger=mlflow,wandb: to use all of them in each run: 'logger=[mlflow,wandb]'",
        ),
        (
            "logger.wandb.mode=online",
            "logger.wandb.mode: there is no such key; python -m noisygce.train --cfg job shows all keys",
        ),
        (
            "logger=wandb logger.wandb.mode=onlin",
            "logger.wandb.mode=onlin: logger.wandb.mode must be one of online, offline",
        ),
        ("loss=[gce,mae]", "loss=[gce,mae]: a run has one loss; to train with each of them: -m loss=gce,mae"),
        ("+data=digits", "Multiple values for data. To override a value use *"),
    ],
    "Options": [
        (
            "--epochs 3",
            "--epochs: there is no such option; settings are KEY=VALUE without dashes; did you mean schedule.epochs?",
        ),
        (
            "--batch-size=64",
            "--batch-size=64: there is no such option; settings are KEY=VALUE without dashes; did you mean "
            "schedule.batch_size?",
        ),
        ("-rate 0.4", "-rate: there is no such option; settings are KEY=VALUE without dashes; did you mean rate?"),
        ("-x", "-x: there is no such option; settings are KEY=VALUE without dashes; --help lists them"),
        ("--cfg", "argument --cfg/-c: expected one argument; settings are KEY=VALUE without dashes, and --help *"),
        ("--cfg=loss", "argument --cfg/-c: invalid choice: 'loss' (choose from *job*, *hydra*, *all*); settings are *"),
        (
            "--cfg job --multirun",
            "--run, --multirun (-m), --cfg and --info: one at a time; --cfg shows the config of one run",
        ),
        ("--resolve", "--resolve needs --cfg job"),
        (
            "--experimental-rerun=theirs.pickle",
            "--experimental-rerun=theirs.pickle: there is no such option; *",
        ),
    ],
    "Sweeps: no run is started where one cannot be": [
        (
            "-m loss.q=0.3,1.5",
            "loss.q=1.5: loss.q must be a number in (0, 1] (in the run loss.q=1.5)",
        ),
        (
            "seed=-1,0 -m rate=0.2",
            "seed=-1: seed must be an integer in [0, 4294967296) (in the run *)",
        ),
        (
            "-m 'loss=glob(nce_a*)'",
            "loss=glob(nce_a*): name the choices, not a pattern of them: loss=nce_ael,nce_agce,nce_aul",
        ),
        (
            "-m 'loss.q=interval(0.1,1.0)'",
            "loss.q=interval(0.1,1.0): an interval is for a search, such as hydra/sweeper=optuna",
        ),
        (
            "-m loss=tgce,gce loss.k=0.3",
            "loss.k: there is no such key; there are loss.q (in the run loss=gce loss.k=0.3)",
        ),
        (
            "-m loss=gce,ce loss.q=0.3",
            "loss.q: there is no such key; there are loss.clip (in the run loss=ce *)",
        ),
        ("-m loss=agce,aul loss.a=0", "loss.a=0: loss.a must be * (in the run loss=agce loss.a=0)"),
        (
            "-m +hydra.sweeper.n_trials=3 loss.q=0.3,0.5",
            "*unexpected keyword argument 'n_trials'",
        ),
        (
            "-m experiment=demo,sweep_qk_digits",
            "experiment=demo,sweep_qk_digits: each experiment has its own grid; name one experiment in a command",
        ),
        ("experiment=[demo,x]", "experiment=[demo,x]: each experiment has its own grid; *"),
        ("-m loss=gce,gcee", "loss=gcee: there is no such loss; did you mean gce? (in the run loss=gcee)"),
        (
            "experiment=demo seed=x",
            "seed=x: seed must be an integer in [0, 4294967296) (in the run *seed=x*)",
        ),
    ],
    "Files of unknown origin": [
        ("loss._target_=os.system", "loss._target_=os.system: must be a subclass of noisygce.losses.*Loss"),
        ("loss._target_=noisygce.noise.Pair", "loss._target_=*Pair: must be a subclass of noisygce.losses.*Loss"),
        (
            "loss._target_=nowhere.Loss",
            "loss._target_=nowhere.Loss: cannot be imported (No module named 'nowhere'); start in the folder *",
        ),
        ("loss.name=../../x", "loss.name=../../x: must be 1 to 40 letters, digits or underscores"),
        ("loss.name=null", "loss.name=null: must be 1 to 40 letters, digits or underscores"),
        ("'rate=${oc.env:HOME}'", "rate=${oc.env:HOME}: a config may read no environment variables but NOISYGCE_..."),
        (
            "hydra.launcher._target_=os.system",
            "hydra.launcher._target_=os.system: must be of an installed launcher of Hydra, one of *",
        ),
        ("-m hydra.launcher=null", "hydra.launcher=null: must be of an installed launcher of Hydra, one of *"),
        (
            "-m +hydra.launcher.x._target_=shutil.rmtree",
            "hydra.launcher.x._target_=shutil.rmtree: must be of an installed launcher of Hydra, one of *",
        ),
        (
            "-m hydra/launcher=slurm",
            "hydra/launcher=slurm: there is no such hydra/launcher; there are *basic*",
        ),
        (
            "hydra.sweeper._target_=os.system",
            "hydra.sweeper._target_=os.system: must be of an installed sweeper of Hydra, one of *NoisygceSweeper*",
        ),
        ("hydra/job_logging=default", "hydra.job_logging=*: must be as hydra/job_logging=none has it; *"),
        ("hydra/hydra_logging=hydra_debug", "hydra.hydra_logging=*: must be as hydra/job_logging=none has it; *"),
        (
            "+hydra.job.env_set.PATH=theirs",
            "hydra.job.env_set={'PATH': 'theirs'}: a config may neither set nor copy environment variables",
        ),
        (
            "hydra.job.env_copy=[HOME]",
            "hydra.job.env_copy=['HOME']: a config may neither set nor copy environment variables",
        ),
        ("hydra.job.env_copy=[NOT_THERE]", "hydra.job.env_copy: a config may copy no environment variable (*)"),
        (
            "hydra.job.chdir=true",
            "hydra.job.chdir=True: must be false; runs and tables are written *",
        ),
        ("hydra.run.dir=/tmp/theirs", "hydra.run.dir=/tmp/theirs: must be .; runs and tables are written below *"),
        (
            "'hydra.run.dir=${paths.data}'",
            "hydra.run.dir=${paths.data}: must be .; runs and tables are *",
        ),
        ("-m hydra.sweep.dir=theirs", "hydra.sweep.dir=theirs: must be .; runs and tables are written below *"),
        ("-m hydra.sweep.subdir=../x", "hydra.sweep.subdir=../x: must be .; runs and tables are written below *"),
        ("hydra.output_subdir=theirs", "hydra.output_subdir=theirs: must be null; runs and tables are written below *"),
    ],
}
VALUES = TABLE["Values"]
ROWS = [row for section, rows in TABLE.items() for row in rows if section != "Values"]


def split(arguments: str) -> list[str]:
    """The arguments as a shell would pass them."""
    return shlex.split(arguments)
