"""What the image example does to a picture: plain functions of Pillow images, no jobs in here."""

from __future__ import annotations

import io
import urllib.request
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageOps

Picture = Image.Image
Colour = tuple[int, int, int]
LARGEST = 1600
TINTS: dict[str, tuple[Colour, Colour]] = {
    "sepia": ((40, 24, 12), (255, 236, 200)),
    "night": ((4, 8, 32), (170, 206, 255)),
    "mono": ((0, 0, 0), (255, 255, 255)),
    "rose": ((44, 8, 30), (255, 224, 226)),
}
"""The words of a prompt that choose a tint: the colours of its shadows and of its lights."""


def read(source: str) -> bytes:
    """The bytes of a file, given by its path or its http(s) address."""
    if not source.startswith(("http://", "https://")):
        return Path(source).read_bytes()
    with urllib.request.urlopen(source, timeout=30) as response:
        return bytes(response.read())


def decode(data: bytes) -> Picture:
    """The picture in a file's bytes, the right way up and not too large."""
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    picture.thumbnail((LARGEST, LARGEST))
    return picture


def save(picture: Picture, path: Path) -> None:
    """Write a file whole or not at all: a second attempt never meets half of one."""
    part = path.with_name(f".{path.name}.part")
    picture.save(part, "JPEG", quality=88)
    part.replace(path)


def steps(prompt: str) -> list[tuple[str, Callable[[Picture], Picture]]]:
    """The edits that a prompt asks for, each with a word for it."""
    return [
        ("contrast", lambda picture: ImageOps.autocontrast(picture, cutoff=1)),
        ("tint", lambda picture: tint(picture, prompt)),
        ("glow", glow),
        ("vignette", vignette),
        ("border", lambda picture: ImageOps.expand(picture, max(8, picture.width // 40), "white")),
        ("caption", lambda picture: caption(picture, prompt)),
    ]


def tint(picture: Picture, prompt: str) -> Picture:
    """Colour the picture by the first word of the prompt that names a tint."""
    found = [TINTS[word] for word in prompt.lower().split() if word in TINTS]
    if not found:
        return picture
    shadows, lights = found[0]
    tinted = ImageOps.colorize(ImageOps.grayscale(picture), shadows, lights)
    return Image.blend(picture, tinted, 0.85)


def glow(picture: Picture) -> Picture:
    soft = picture.filter(ImageFilter.GaussianBlur(picture.width / 50))
    return Image.blend(picture, ImageChops.screen(picture, soft), 0.35)


def vignette(picture: Picture) -> Picture:
    fall_off = Image.radial_gradient("L").resize(picture.size).point(lambda value: value * 0.6)
    return Image.composite(Image.new("RGB", picture.size), picture, fall_off)


def caption(picture: Picture, text: str) -> Picture:
    """Add a strip with the prompt below the picture."""
    height = max(24, picture.width // 14)
    canvas = Image.new("RGB", (picture.width, picture.height + height), "white")
    canvas.paste(picture)
    font = ImageFont.load_default(size=height * 0.55)
    place = (picture.width / 2, picture.height + height * 0.35)
    ImageDraw.Draw(canvas).text(place, text, fill="#333333", font=font, anchor="mm")
    return canvas
