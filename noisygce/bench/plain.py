"""The plain loop that public noisy-label repositories run, written as they write it, for ``noisygce.bench`` to time.

torchvision transforms on PIL images, a DataLoader with two workers, float32, NCHW, cross entropy, torch.optim.SGD, and
three values read back from the device in every step; cudnn.benchmark and TF32 convolutions as they have them. Nothing
else uses it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from noisygce.data import Preprocessing
from noisygce.schedule import Schedule
from noisygce.training.task import Task


class _Pictures(Dataset[tuple[Tensor, int]]):
    def __init__(self, task: Task, preprocessing: Preprocessing) -> None:
        from torchvision import transforms

        self.images, self.labels = task.arrays.train_images[task.train], task.noisy[task.train]
        augment: list[Any] = []
        if preprocessing.padding:
            augment.append(transforms.RandomCrop(self.images.shape[1:3], padding=preprocessing.padding))
        if preprocessing.flip:
            augment.append(transforms.RandomHorizontalFlip())
        normalise = transforms.Normalize(preprocessing.mean, preprocessing.std)
        self.transform = transforms.Compose([*augment, transforms.ToTensor(), normalise])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        from PIL import Image

        image = self.images[i]
        return self.transform(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)), int(self.labels[i])


def steps(
    task: Task, preprocessing: Preprocessing, network: nn.Module, schedule: Schedule, device: str
) -> Generator[int, None, None]:
    """Trains for ever; yields the images of each step."""
    network = network.to(device).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        network.parameters(), lr=schedule.lr, momentum=schedule.momentum, weight_decay=schedule.weight_decay
    )
    loader = DataLoader(
        _Pictures(task, preprocessing),
        batch_size=schedule.batch_size,
        shuffle=True,
        num_workers=2,
        pin_memory=device != "cpu",
    )
    network.train()
    total = correct = seen = 0.0
    while True:
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)
            logits = network(images)
            value = nn.functional.cross_entropy(logits, labels)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            total += value.item() * len(labels)
            correct += (logits.argmax(1) == labels).sum().item()
            seen += logits.topk(2, dim=1)[1].eq(labels[:, None]).any(1).sum().item()
            yield len(labels)
