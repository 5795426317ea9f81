"""Pictures for people: grids of images with captions, as PNG bytes. Lossless, nearest-pixel enlargement only."""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont

from ddpm_exp.data.pixels import to_uint8

_GAP = 2
_BACKGROUND = 255
_SMALLEST_TILE = 48


def grid(images: torch.Tensor, row_captions: Sequence[str], title: str = "") -> bytes:
    """A PNG of `images` [R, K, C, H, W] in [-1, 1]: R captioned rows of K tiles.

    Tiles smaller than 48 pixels are enlarged by a whole factor, so that every pixel stays visible as it is.
    """
    rows, columns, _, height, width = images.shape
    factor = max(1, -(-_SMALLEST_TILE // max(height, width)))
    font = ImageFont.load_default(13)
    left = max([0, *(int(font.getlength(text)) for text in row_captions)]) + 12
    top = 22 if title else _GAP
    tile_w, tile_h = width * factor + _GAP, height * factor + _GAP
    sheet_w = max(left + columns * tile_w, int(font.getlength(title)) + 12 if title else 0)
    sheet = Image.new("RGB", (sheet_w, top + rows * tile_h), (_BACKGROUND,) * 3)
    pen = ImageDraw.Draw(sheet)
    if title:
        pen.text((6, 3), title, fill=(60, 60, 60), font=font)
    for row in range(rows):
        caption = row_captions[row] if row < len(row_captions) else ""
        pen.text((6, top + row * tile_h + tile_h // 2), caption, fill=(0, 0, 0), font=font, anchor="lm")
        for column in range(columns):
            tile = _to_pil(images[row, column]).resize((width * factor, height * factor), Image.Resampling.NEAREST)
            sheet.paste(tile, (left + column * tile_w, top + row * tile_h))
    stream = io.BytesIO()
    sheet.save(stream, format="PNG")
    return stream.getvalue()


def _to_pil(image: torch.Tensor) -> Image.Image:
    pixels = to_uint8(image).permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")
