"""How fast training is, beside the plain loop of public repositories: ``python -m noisygce.bench``."""
