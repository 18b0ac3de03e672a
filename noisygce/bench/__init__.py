"""How fast training is, beside the plain loop of public repositories: ``python -m noisygce.bench``.

    setting.py  what is measured, and how: the modes take turns
    steps.py    a step in each mode; evaluation, epoch, run
    growth.py   by batch size, along a sweep, side by side
    kernels.py  convolutions beside their floor; where the time goes
    plain.py    the plain loop

May import all that is below the commands.
"""
