"""Paint the pictures in `examples/images`, from nothing but arithmetic and a fixed seed.

python -m examples.make_images
"""

from __future__ import annotations

import math
import random
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter

FOLDER = Path(__file__).parent / "images"
SIZE = WIDTH, HEIGHT = 640, 420
Colour = tuple[int, int, int]


def sky(top: Colour, bottom: Colour) -> Image.Image:
    """A vertical gradient."""
    mask = Image.linear_gradient("L").resize(SIZE)
    return Image.composite(Image.new("RGB", SIZE, bottom), Image.new("RGB", SIZE, top), mask)


def glow(picture: Image.Image, x: int, y: int, radius: int, colour: Colour) -> Image.Image:
    """The picture with a soft light in it."""
    light = Image.new("RGB", SIZE)
    ImageDraw.Draw(light).ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    soft = light.filter(ImageFilter.GaussianBlur(radius * 0.7))
    return ImageChops.screen(ImageChops.screen(picture, soft), light)


def ridge(rng: random.Random, base: float, height: float) -> list[tuple[float, float]]:
    """The outline of some hills, from the left edge to the right and back along the bottom."""
    waves = [
        (rng.uniform(0.5, 1) / n, n * rng.uniform(0.006, 0.009), rng.random()) for n in (1, 2, 4)
    ]
    line = [
        (x, base - height * sum(a * math.sin(w * x + 6.28 * p) for a, w, p in waves))
        for x in range(0, WIDTH + 4, 4)
    ]
    return [*line, (WIDTH, HEIGHT), (0, HEIGHT)]


def hills() -> Image.Image:
    rng = random.Random(7)
    picture = glow(sky((70, 96, 150), (250, 186, 140)), 430, 150, 34, (255, 232, 190))
    for layer in range(5):
        shade = 1 - layer / 5.5
        colour = (int(150 * shade) + 20, int(120 * shade) + 30, int(130 * shade) + 45)
        ImageDraw.Draw(picture).polygon(ridge(rng, 230 + 42 * layer, 30), fill=colour)
    return picture.filter(ImageFilter.GaussianBlur(0.8))


def sea() -> Image.Image:
    rng = random.Random(11)
    picture = glow(sky((32, 44, 92), (244, 132, 88)), 320, 210, 46, (255, 214, 150))
    water = ImageDraw.Draw(picture)
    for row in range(214, HEIGHT):
        near = (row - 214) / (HEIGHT - 214)
        water.line(
            (0, row, WIDTH, row),
            fill=(int(120 - 92 * near), int(86 - 46 * near), int(110 - 40 * near)),
        )
    for _ in range(170):
        y = rng.uniform(216, HEIGHT - 4)
        near = (y - 214) / (HEIGHT - 214)
        x, half = rng.gauss(320, 30 + 60 * near), rng.uniform(6, 14) * (0.5 + near)
        water.line((x - half, y, x + half, y), fill=(255, 196, 140), width=1 + int(2 * near))
    return picture.filter(ImageFilter.GaussianBlur(1))


def lights() -> Image.Image:
    rng = random.Random(23)
    picture = sky((14, 16, 38), (54, 30, 60))
    for _ in range(26):
        radius = rng.randint(12, 40)
        colour = rng.choice([(120, 70, 20), (20, 80, 110), (110, 30, 70), (90, 90, 40)])
        disc = Image.new("RGB", SIZE)
        x, y = rng.randrange(WIDTH), rng.randrange(HEIGHT)
        ImageDraw.Draw(disc).ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        picture = ImageChops.screen(picture, disc.filter(ImageFilter.GaussianBlur(3)))
    return picture


def dunes() -> Image.Image:
    picture = sky((120, 176, 214), (236, 226, 200))
    for x in range(WIDTH):
        crest = 190 + 46 * math.sin(x / 150) + 12 * math.sin(x / 47)
        for y in range(int(crest), HEIGHT):
            depth = y - crest
            ripple = 9 * math.sin((depth + 22 * math.sin(x / 90)) / 7) * math.exp(-depth / 160)
            light = 224 - 0.42 * depth + ripple + 26 * math.sin(x / 130 + depth / 210)
            picture.putpixel((x, y), (int(light), int(light * 0.74), int(light * 0.5)))
    return picture.filter(ImageFilter.GaussianBlur(0.7))


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for paint in (hills, sea, lights, dunes):
        path = FOLDER / f"{paint.__name__}.jpg"
        paint().save(path, quality=68, optimize=True)
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
