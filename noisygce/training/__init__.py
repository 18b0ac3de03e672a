"""Training: one run's computation, from a data set to weights. Knows no config and no folder of a run.

    task.py        data set + noise + seed -> noisy labels and a split
    loader.py      order and augmentation of each batch (philox.py: their random bits)
    images.py      a batch on the device: crop, mirror, turn, normalise; from host memory where images do not fit there
    augment.py     RandAugment and cutout of a batch
    step.py        one training step (moving_average.py: the moving average of a network; bf16.py: its weights in bf16)
    own_loss.py    whether a run with a person's own loss can be repeated
    dropout.py     dropout drawn from the run's seed
    cuda_graph.py  the step as one CUDA graph
    evaluate.py    logits of a whole set, and accuracies
    prune.py       which samples the truncated loss keeps
    fit.py         the loop
    predictions.py what the best model says of every sample
    detection.py   how well that tells wrong labels from right ones
    estimates.py   the rate of wrong labels and T, estimated from a model and the noisy labels
    calibration.py whether a model is right as often as it is confident
    device.py      picking the device, making its arithmetic repeatable
    hardware.py    what processor and GPU there are, and what they cannot do

Most import torch: take names from the module that has them (tests/test_architecture.py names those that do).
"""
