"""A gallery: one HTML file of pictures with doubtful labels, on which a person judges them (gallery.html).

Pictures lie in the file as sprites of ``CHUNK`` each, which a browser decodes as they come into sight; only the cards
in sight are part of the page, so that thousands stay smooth. Verdicts stay in the browser until they are saved as CSV.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from noisygce.view.page import render

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pandas import DataFrame

CHUNK, ACROSS = 100, 10  # pictures a sprite, and side by side in it
_LOSSLESS = 32  # pixels; larger pictures are stored as JPEG


def page(
    title: str,
    score: str,
    listed: DataFrame,
    classes: Sequence[str],
    pictures: Sequence[NDArray[np.uint8]],
) -> str:
    """The page of the listed samples (``ranking.table``), with a picture uint8 (H, W, 1 or 3) of each, or with none."""
    from markupsafe import Markup

    size = max((max(picture.shape[:2]) for picture in pictures), default=1)
    content = {
        "title": title,
        "score": score,
        "columns": [*listed],
        "rows": listed.to_numpy().tolist(),
        "classes": list(classes),
        "size": size,
        "chunk": CHUNK,
        "across": ACROSS,
        "type": "png" if size <= _LOSSLESS else "jpeg",
    }
    data = json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    sprites = "\n".join(
        f'<script type="text/plain" class="sprite">{sprite(pictures[start : start + CHUNK], size)}</script>'
        for start in range(0, len(pictures), CHUNK)
    )
    return render("gallery.html", title=title, sprites=Markup(sprites), data=Markup(data))


def sprite(pictures: Sequence[NDArray[np.uint8]], size: int) -> str:
    """Pictures in the middle of tiles of size x size pixels, ``ACROSS`` a line, as base64 of a PNG or JPEG."""
    import numpy as np
    from PIL import Image

    lines = -(-len(pictures) // ACROSS)
    sheet = np.full((lines * size, ACROSS * size, 3), 128, dtype=np.uint8)
    for i, picture in enumerate(pictures):
        height, width = picture.shape[:2]
        top, left = (i // ACROSS) * size + (size - height) // 2, (i % ACROSS) * size + (size - width) // 2
        sheet[top : top + height, left : left + width] = picture  # one channel is the same in all three
    packed = io.BytesIO()
    image = Image.fromarray(sheet)
    if size <= _LOSSLESS:
        image.save(packed, "PNG", optimize=True)
    else:
        image.save(packed, "JPEG", quality=85)
    return base64.b64encode(packed.getvalue()).decode("ascii")
