"""Image files with random damage: each still loads, or is refused by name; nothing else ever happens."""

import io
import random
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data.datasets import FileReader
from src.data.images import ImageReader
from src.data.masks import MaskReader
from src.data.sources.folder import open_folder
from src.data.verify import verify

PNG = b"\x89PNG\r\n\x1a\n"
LONGEST = 20.0  # seconds for one small file, on a machine that has other things to do


def photo_and_mask() -> tuple[Image.Image, Image.Image]:
    """A photo with some structure and a mask of 0 and 255, both of 48 x 40 pixels."""
    generator = np.random.default_rng(0)
    blocks = generator.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    photo = np.kron(blocks, np.ones((8, 8, 1), dtype=np.uint8)) + generator.integers(0, 9, (40, 48, 1), dtype=np.uint8)
    mask = np.zeros((40, 48), dtype=np.uint8)
    mask[10:30, 12:36] = 255
    return Image.fromarray(photo), Image.fromarray(mask)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def sound_files() -> list[bytes]:
    """One of each way that JPEG and PNG files come in."""
    photo, mask = photo_and_mask()
    return [
        encoded(photo, "JPEG"),
        encoded(photo, "JPEG", progressive=True, quality=95),
        encoded(photo.convert("L"), "JPEG"),
        encoded(photo.convert("CMYK"), "JPEG"),
        encoded(photo, "PNG"),
        encoded(photo.convert("RGBA"), "PNG"),
        encoded(photo.convert("P"), "PNG", bits=4),
        encoded(mask, "PNG"),
        encoded(mask.convert("1"), "PNG"),
        encoded(Image.fromarray(np.asarray(mask).astype(np.uint16) * 257), "PNG"),
    ]


def damaged(content: bytes, draw: random.Random) -> bytes:
    """`content` with bytes changed, cut off, put in, taken out or turned round; never empty."""
    here, there = sorted(draw.sample(range(1, len(content)), 2))
    ways = ["bytes", "header", "cut", "insert", "delete", "reverse"]
    match draw.choice([*ways, "chunk", "chunk", "chunk"] if content.startswith(PNG) else ways):
        case "chunk":
            return with_a_damaged_chunk(content, draw)
        case "bytes":
            changed = bytearray(content)
            for _ in range(draw.choice([1, 2, 8, 64])):
                changed[draw.randrange(len(changed))] = draw.randrange(256)
            return bytes(changed)
        case "header":  # sizes, counts and kinds, at their limits
            changed = bytearray(content)
            for _ in range(draw.choice([1, 2, 4])):
                changed[draw.randrange(64)] = draw.choice([0, 1, 127, 128, 255])
            return bytes(changed)
        case "cut":
            return content[:here]
        case "insert":
            return content[:here] + draw.randbytes(draw.randrange(1, 64)) + content[here:]
        case "delete":
            return content[:here] + content[there:]
        case _:
            return content[:here] + content[here:there][::-1] + content[there:]


def with_a_damaged_chunk(content: bytes, draw: random.Random) -> bytes:
    """A PNG whose check sums are right all the same, so that what lies behind them gets to see the damage."""
    chunks, start = [], len(PNG)
    while start < len(content):
        (length,) = struct.unpack_from(">I", content, start)
        chunks.append(bytearray(content[start + 4 : start + 8 + length]))  # its kind and its data
        start += 12 + length
    chosen = draw.choice([chunk for chunk in chunks if len(chunk) > 4])
    for _ in range(draw.choice([1, 2, 8])):
        chosen[draw.randrange(4, len(chosen))] = draw.randrange(256)
    summed = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    return PNG + b"".join(summed)


def mutations(count: int) -> Iterator[bytes]:
    """`count` damaged files, the same ones each time."""
    draw, sound = random.Random(7), sound_files()
    return (damaged(sound[number % len(sound)], draw) for number in range(count))


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_a_damaged_file_loads_or_is_refused_by_name(tmp_path: Path, count: int) -> None:
    path, loaded, refused = tmp_path / "damaged.jpg", 0, 0
    for content in mutations(count):
        path.write_bytes(content)
        for read in (ImageReader(), MaskReader(binary=True, threshold=0.5)):
            began = time.perf_counter()
            try:
                found = read(path)
                assert found.dtype == np.uint8 and found.shape[2:] == ((3,) if isinstance(read, ImageReader) else ())
                loaded += 1
            except ValueError as refusal:
                assert str(refusal).startswith(f"{path}: ")
                refused += 1
            assert time.perf_counter() - began < LONGEST
    assert loaded + refused == 2 * count and min(loaded, refused) > count / 10


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_of_a_data_set_with_damaged_files_the_rest_can_be_used(tmp_path: Path, count: int) -> None:
    """Each seventh pair is sound; of the others the image or the mask is damaged."""
    photo, mask = photo_and_mask()
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for number, content in enumerate(mutations(count)):
        files = [encoded(photo, "JPEG"), encoded(mask, "PNG")]
        if number % 7:
            files[number % 2] = content
        for name, file in zip(("images", "masks"), files, strict=True):
            (tmp_path / name / f"pet_{number:04}.jpg").write_bytes(file)
    opened = open_folder(tmp_path)
    splits, digest = verify(opened, tmp_path / "cache", "skip")
    remaining = [*splits.train, *splits.valid, *splits.test]
    assert len(digest) == 64 and len(remaining) + len(splits.skipped) == count
    assert {f"pet_{number:04}" for number in range(0, count, 7)} <= {pair.stem for pair in remaining}
    assert all("pet_" in line for line in splits.skipped)
    read = FileReader(splits.decoder)
    assert {tuple(array.shape for array in read(pair, 32)) for pair in remaining} == {((32, 32, 3), (32, 32))}
    with pytest.raises(ValueError) as refusal:
        verify(opened, tmp_path / "cache", "raise")
    assert "images and their masks" in str(refusal.value)
