"""Images are explained by patches: a single pixel carries nothing that a person could look at."""

from __future__ import annotations

from pellucid.errors import BadData
from pellucid.explain.fields import Fields

__all__ = ["patches"]


def patches(shape: tuple[int, int, int], size: int) -> Fields:
    """Square patches as fields, each with all channels of its pixels; those at the right and lower edge may be smaller.

    Args:
        shape: Of an image: channels, height and width.
        size: Pixels on a side of a patch; 1 makes a field of every pixel.

    Raises:
        BadData: Not three numbers, or one below one.
    """
    if len(shape) != 3:
        raise BadData(
            f"the shape of an image is (channels, height, width), and this has {len(shape)} numbers",
            where="patches",
            fix="a grey image has one channel: (1, height, width)",
        )
    channels, height, width = shape
    if min(channels, height, width, size) < 1:
        raise BadData("an image and its patches must have at least one pixel", where="patches")
    names, slots = [], []
    for top in range(0, height, size):
        for left in range(0, width, size):
            rows, columns = range(top, min(top + size, height)), range(left, min(left + size, width))
            names.append(f"rows {rows[0]}-{rows[-1]}, columns {columns[0]}-{columns[-1]}")
            slots.append(
                tuple(
                    (channel * height + row) * width + column
                    for channel in range(channels)
                    for row in rows
                    for column in columns
                )
            )
    return Fields(tuple(names), tuple(slots))
