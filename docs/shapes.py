"""Draws data/shapes: 600 training and 200 test pictures of four shapes; one training label in five is wrong."""

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CORNERS = {"circle": 40, "square": 4, "star": 10, "triangle": 3}
rng = np.random.default_rng(0)


def draw(name: str) -> Image.Image:
    colours = [rng.integers(20, 90, 3), rng.integers(140, 240, 3)]
    back, front = colours if rng.random() < 0.5 else colours[::-1]
    image = Image.new("RGB", (64, 64), tuple(map(int, back)))
    x, y, radius, turn = rng.uniform(27, 37), rng.uniform(27, 37), rng.uniform(17, 25), rng.uniform(-0.3, 0.3)
    points = []
    for i in range(CORNERS[name]):
        angle, r = turn + 2 * math.pi * i / CORNERS[name], radius * (0.45 if name == "star" and i % 2 else 1)
        points.append((x + r * math.sin(angle), y - r * math.cos(angle)))
    ImageDraw.Draw(image).polygon(points, fill=tuple(map(int, front)))
    noisy = np.asarray(image) + rng.normal(0, 20, (64, 64, 1))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


wrong = []
for part, count in (("train", 600), ("test", 200)):
    for i in range(count):
        true = given = str(rng.choice(list(CORNERS)))
        if part == "train" and rng.random() < 0.2:
            given = str(rng.choice([name for name in CORNERS if name != true]))
            wrong.append(f"train/{given}/{i:04}.png,{true}")
        path = Path("data", "shapes", part, given, f"{i:04}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(true).save(path)
Path("wrong.csv").write_text("\n".join(wrong) + "\n")  # what nobody has: which labels are wrong, and the true ones
