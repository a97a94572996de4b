"""Any photo as a viewer shows it, compared with what was drawn by hand."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from src.data.images import read_image
from src.prediction.photos import read_photo
from tests.prediction.pictures import blocks, save

COLOURS = {"R": (255, 0, 0), "G": (0, 255, 0), "B": (0, 0, 255), "Y": (255, 255, 0), "W": (255, 255, 255)}
# How stored quarters RG over BY are shown. Exif 2.32: orientation 6, say, has its first row on the right and its first
# column on top, so the column R, B becomes the upper row, read from the right.
SHOWN = {1: "RG BY", 2: "GR YB", 3: "YB GR", 4: "BY RG", 5: "RB GY", 6: "BR YG", 7: "YG BR", 8: "GY RB"}


def quarters(letters: str, height: int = 32, width: int = 48) -> np.ndarray:
    """uint8 (height, width, 3): `RG BY` is red, green over blue, yellow."""
    corners = np.array([[COLOURS[letter] for letter in row] for row in letters.split()], dtype=np.uint8)
    return np.kron(corners, np.ones((height // 2, width // 2, 1), dtype=np.uint8))


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", SHOWN)
def test_a_photo_stands_as_its_exif_orientation_says(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "photo", quarters("RG BY"), kind, exif=exif, quality=100)
    shown = quarters(SHOWN[orientation], *((48, 32) if orientation > 4 else (32, 48)))
    photo = read_photo(path)
    assert (photo.dtype, photo.shape) == (np.uint8, shown.shape)
    inner = np.s_[4:12], np.s_[-12:-4]  # the lossy formats blur where colours meet
    for rows in inner:
        for columns in inner:
            assert np.abs(photo[rows, columns].astype(int) - shown[rows, columns]).max() <= 8


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0nonsense", b"Exif\0\0", b"nonsense"])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_photo_with_damaged_exif_data_stays_as_it_is_stored(tmp_path, exif):
    path = save(tmp_path / "photo.jpg", quarters("RG BY"), "JPEG", exif=exif, quality=100)
    np.testing.assert_array_equal(read_photo(path), read_image(path))


def test_what_needs_no_turning_and_has_no_alpha_is_read_as_in_training(tmp_path):
    path = save(tmp_path / "photo.jpg", blocks(0), "JPEG")
    np.testing.assert_array_equal(read_photo(path), read_image(path))


def rows_of(image: Image.Image, tmp_path, kind: str, **options) -> list[list[int]]:
    """The first row of an image after it was saved and read as a photo."""
    path = tmp_path / "photo"
    image.save(path, kind, **options)
    return read_photo(path)[0].tolist()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_what_is_transparent_is_laid_on_white(tmp_path, kind):
    """Half-transparent black (128 of 255) leaves 255 - 128 = 127 of white."""
    image = Image.new("RGBA", (3, 1), (10, 20, 30, 255))
    image.putpixel((1, 0), (10, 20, 30, 0))
    image.putpixel((2, 0), (0, 0, 0, 128))
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    assert rows_of(image, tmp_path, kind, **options) == [[10, 20, 30], [255] * 3, [127] * 3]


def test_grey_with_alpha(tmp_path):
    image = Image.new("LA", (2, 1), (50, 255))
    image.putpixel((1, 0), (0, 128))
    assert rows_of(image, tmp_path, "PNG") == [[50] * 3, [127] * 3]


def test_a_palette_with_transparency(tmp_path):
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 0])
    image.putdata([0, 1, 2])
    red, green, black, white = [255, 0, 0], [0, 255, 0], [0, 0, 0], [255] * 3
    assert rows_of(image, tmp_path, "PNG") == [red, green, black]
    assert rows_of(image, tmp_path, "PNG", transparency=1) == [red, white, black]
    assert rows_of(image, tmp_path, "PNG", transparency=bytes([255, 0, 128])) == [red, white, [127] * 3]
    assert rows_of(image, tmp_path, "GIF", transparency=0) == [white, green, black]


def test_one_transparent_value_of_grey_colour_or_bits(tmp_path):
    grey = Image.fromarray(np.array([[0, 100, 200]], dtype=np.uint8))
    assert rows_of(grey, tmp_path, "PNG", transparency=100) == [[0] * 3, [255] * 3, [200] * 3]
    deep = Image.fromarray(np.array([[0, 0x6400, 0x6401]], dtype=np.uint16))
    assert rows_of(deep, tmp_path, "PNG", transparency=0x6400) == [[0] * 3, [255] * 3, [0x64] * 3]
    colour = Image.fromarray(quarters("RG BY", 2, 2))
    assert rows_of(colour, tmp_path, "PNG", transparency=(255, 0, 0)) == [[255] * 3, [0, 255, 0]]
    bits = Image.fromarray(np.array([[False, True]]))
    assert rows_of(bits, tmp_path, "PNG", transparency=0) == [[255] * 3, [255] * 3]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_1_8_and_16_bits(tmp_path, kind):
    bits = Image.fromarray(np.array([[False, True]]))
    assert rows_of(bits, tmp_path, kind) == [[0] * 3, [255] * 3]
    assert rows_of(Image.fromarray(np.array([[7]], dtype=np.uint8)), tmp_path, kind) == [[7] * 3]
    deep = Image.fromarray(np.array([[0x1234, 0xFFFF]], dtype=np.uint16))
    assert rows_of(deep, tmp_path, kind) == [[0x12] * 3, [255] * 3]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(tmp_path, kind):
    path = tmp_path / "photo"
    Image.fromarray(quarters("RG BY")).convert("CMYK").save(path, kind, quality=100)
    assert np.abs(read_photo(path)[4, 4].astype(int) - COLOURS["R"]).max() <= 3


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_counts(tmp_path, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    second = [Image.fromarray(quarters("WW WW"))]
    path = save(tmp_path / "photo", quarters("RG BY"), kind, save_all=True, append_images=second, **options)
    np.testing.assert_array_equal(read_photo(path), quarters("RG BY"))


def bomb() -> bytes:
    """A PNG of a hundred bytes that says it holds 70 million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 10_000, 7_000, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.fromarray(blocks(0, 200, 200)).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot identify image file"),
        (b"no photo at all", "cannot identify image file"),
        (jpeg()[:-500], "truncated"),
        (bomb(), "10000 x 7000 pixels, at most 64,000,000"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(tmp_path, content, said):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"photo\.jpg: cannot be read as an image \(.*{said}"):
        read_photo(path)


def test_a_pipe_or_a_folder_is_refused_and_nobody_waits(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    for name in ("pipe.jpg", "folder.jpg"):
        with pytest.raises(ValueError, match="is no regular file"):
            read_photo(tmp_path / name)
    with pytest.raises(ValueError, match="no such file"):
        read_photo(tmp_path / "nix.jpg")
