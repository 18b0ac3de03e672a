"""Training speed, beside the plain loop of public repositories: ``python -m noisygce.bench``.

setting.py  what is measured, and how: the modes take turns
steps.py    a step in each mode; evaluation, epoch, run; the step's time by kernel
plain.py    the plain loop
"""
