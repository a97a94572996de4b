"""Reading images and masks of every mode, resizing, and what a trimap becomes."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.data.images import (
    ImageReader,
    resize_image,
    resize_mask,
    trimap_to_target,
)
from tests.prediction.pictures import save

read_image = ImageReader()
RED_BLUE = np.array([[[255, 0, 0], [0, 0, 255]]], dtype=np.uint8)  # one row: red, blue
GREYS = np.array([[0, 100, 255]], dtype=np.uint8)


def saved(folder: Path, image: Image.Image, name: str, kind: str, **options: object) -> Path:
    path = folder / name
    image.save(path, format=kind, **options)
    return path


# --- files of every mode and kind


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGB", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("P", "GIF"), ("RGB", "BMP"), ("RGBA", "TIFF"), ("RGB", "WEBP")],
)
def test_any_format_named_jpg_is_read_by_its_content(tmp_path: Path, mode: str, kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    path = saved(tmp_path, Image.fromarray(RED_BLUE).convert(mode), "cat.jpg", kind, **options)
    image = read_image(path)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, RED_BLUE)


def test_cmyk_jpeg_becomes_rgb(tmp_path: Path) -> None:
    flat = Image.new("RGB", (16, 16), (200, 60, 30)).convert("CMYK")
    image = read_image(saved(tmp_path, flat, "cat.jpg", "JPEG", quality=100))
    assert image.shape == (16, 16, 3)
    assert np.abs(image.astype(int) - (200, 60, 30)).max() <= 3  # JPEG is lossy


def test_grey_is_repeated_on_three_channels(tmp_path: Path) -> None:
    image = read_image(saved(tmp_path, Image.fromarray(GREYS), "cat.png", "PNG"))
    np.testing.assert_array_equal(image[0], [[0, 0, 0], [100, 100, 100], [255, 255, 255]])


def test_black_and_white_image_spans_0_to_255(tmp_path: Path) -> None:
    bits = Image.fromarray(np.array([[False, True]]))
    assert bits.mode == "1"
    image = read_image(saved(tmp_path, bits, "cat.png", "PNG"))
    np.testing.assert_array_equal(image[0], [[0, 0, 0], [255, 255, 255]])


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_high_byte(tmp_path: Path, kind: str) -> None:
    deep = Image.fromarray(np.array([[0, 0x1234, 0xFFFF]], dtype=np.uint16))
    image = read_image(saved(tmp_path, deep, "cat.tif", kind))
    np.testing.assert_array_equal(image[0, :, 0], [0, 0x12, 0xFF])


# --- EXIF orientations and transparency

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
    photo = read_image(path)
    assert (photo.dtype, photo.shape) == (np.uint8, shown.shape)
    inner = np.s_[4:12], np.s_[-12:-4]  # the lossy formats blur where colors meet
    for rows in inner:
        for columns in inner:
            assert np.abs(photo[rows, columns].astype(int) - shown[rows, columns]).max() <= 8


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0nonsense", b"Exif\0\0", b"nonsense"])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_photo_with_damaged_exif_data_stays_as_it_is_stored(tmp_path, exif):
    path = save(tmp_path / "photo.jpg", quarters("RG BY"), "JPEG", exif=exif, quality=100)
    with Image.open(path) as stored:
        np.testing.assert_array_equal(read_image(path), np.array(stored))


def rows_of(image: Image.Image, tmp_path, kind: str, **options) -> list[list[int]]:
    """The first row of an image after it was saved and read as a photo."""
    path = tmp_path / "photo"
    image.save(path, kind, **options)
    return read_image(path)[0].tolist()


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


def test_one_transparent_value_of_grey_color_or_bits(tmp_path):
    grey = Image.fromarray(np.array([[0, 100, 200]], dtype=np.uint8))
    assert rows_of(grey, tmp_path, "PNG", transparency=100) == [[0] * 3, [255] * 3, [200] * 3]
    color = Image.fromarray(quarters("RG BY", 2, 2))
    assert rows_of(color, tmp_path, "PNG", transparency=(255, 0, 0)) == [[255] * 3, [0, 255, 0]]
    bits = Image.fromarray(np.array([[False, True]]))
    assert rows_of(bits, tmp_path, "PNG", transparency=0) == [[255] * 3, [255] * 3]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(tmp_path, kind):
    path = tmp_path / "photo"
    Image.fromarray(quarters("RG BY")).convert("CMYK").save(path, kind, quality=100)
    assert np.abs(read_image(path)[4, 4].astype(int) - COLOURS["R"]).max() <= 3


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_counts(tmp_path, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    second = [Image.fromarray(quarters("WW WW"))]
    path = save(tmp_path / "photo", quarters("RG BY"), kind, save_all=True, append_images=second, **options)
    np.testing.assert_array_equal(read_image(path), quarters("RG BY"))


# --- what is refused


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cat\.jpg: cannot be read as an image \(No such file"):
        read_image(tmp_path / "cat.jpg")


def test_file_cut_short_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), "cat.jpg", "JPEG")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=r"cat\.jpg: cannot be read as an image \(.*truncated"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cat.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cat\.jpg: cannot be read as an image"):
        read_image(path)


def test_16_bits_of_which_0_is_white_are_refused_and_8_are_turned_over(tmp_path: Path) -> None:
    """Pillow turns over 8 bits and 1, but not 16."""
    black_is_0, white_is_0 = (struct.pack("<HHII", 262, 3, 1, value) for value in (1, 0))  # PhotometricInterpretation
    eight = saved(tmp_path, Image.fromarray(GREYS), "8.tif", "TIFF")
    sixteen = saved(tmp_path, Image.fromarray(GREYS.astype(np.uint16) * 257), "16.tif", "TIFF")
    for path in (eight, sixteen):
        path.write_bytes(path.read_bytes().replace(black_is_0, white_is_0))
    assert read_image(eight)[0, :, 0].tolist() == [255, 155, 0]
    with pytest.raises(
        ValueError, match=r"16\.tif: cannot be read as an image \(16 bits a channel of which 0 is white"
    ):
        read_image(sixteen)


def test_fractions_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.array([[0.5, 1e6]], dtype=np.float32)), "cat.tif", "TIFF")
    with pytest.raises(ValueError, match=r"cat\.tif: .*mode F"):
        read_image(path)


@pytest.mark.parametrize(("width", "height"), [(10_000, 7_000), (100_000, 100_000)])
def test_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, width: int, height: int) -> None:
    """A PNG of a few hundred bytes that says it holds 70 million (or ten thousand million) pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    with pytest.raises(ValueError, match=r"bomb\.png: cannot be read as an image \(.*pixels"):
        read_image(path)


def test_a_pipe_or_a_folder_is_refused_and_nobody_waits(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    for name in ("pipe.jpg", "folder.jpg"):
        with pytest.raises(ValueError, match="should be a regular file"):
            read_image(tmp_path / name)
    with pytest.raises(ValueError, match="No such file"):
        read_image(tmp_path / "nix.jpg")


def jpeg_segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def progressive(scans: int) -> bytes:
    """A grey progressive JPEG of 64 x 64 pixels, whose scans after the first all refine nothing."""
    lengths = bytes([1, *[0] * 15])  # one code, of one bit
    tables = jpeg_segment(0xC4, b"\x00" + lengths + b"\x00") + jpeg_segment(0xC4, b"\x10" + lengths + b"\xe0")
    frame = jpeg_segment(0xC2, struct.pack(">BHHB", 8, 64, 64, 1) + b"\x01\x11\x00")
    first = jpeg_segment(0xDA, b"\x01\x01\x00\x00\x00\x00") + bytes(8)  # 64 blocks of a bit each
    later = jpeg_segment(0xDA, b"\x01\x01\x00\x01\x3f\x00") + b"\x00\x00"
    head = b"\xff\xd8" + jpeg_segment(0xDB, b"\x00" + bytes([1] * 64)) + frame + tables
    return head + first + later * (scans - 1) + b"\xff\xd9"


def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "bomb.jpg").write_bytes(progressive(5000))
    with pytest.raises(ValueError, match=r"bomb\.jpg: .*\(a progressive JPEG of 5,000 scans, at most 100 are read\)"):
        read_image(tmp_path / "bomb.jpg")
    (tmp_path / "many.jpg").write_bytes(progressive(100))
    assert read_image(tmp_path / "many.jpg").shape == (64, 64, 3)


def test_what_only_looks_like_scans_does_not_count(tmp_path: Path) -> None:
    """Bytes within a segment, as of a thumbnail, and behind the picture, as of a film that a telephone puts there."""
    path = saved(tmp_path, Image.fromarray(quarters("RG BY")), "photo.jpg", "JPEG", progressive=True)
    content, looks = path.read_bytes(), b"\xff\xda\x00\x02" * 1000
    path.write_bytes(content[:2] + jpeg_segment(0xE5, looks) + content[2:] + looks)
    assert read_image(path).shape == (32, 48, 3)


# --- resizing


def test_images_are_resized_as_pil_and_as_opencv_do() -> None:
    """Four pixels to two. PIL's triangle is twice as wide: weights 3, 3, 1 of 7; OpenCV takes the mean of two."""
    image = np.repeat(np.array([[0, 70, 140, 210]] * 4, dtype=np.uint8)[..., None], 3, axis=2)
    np.testing.assert_array_equal(resize_image(image, 2, "pil_bilinear")[..., 0], [[50, 160]] * 2)
    np.testing.assert_array_equal(resize_image(image, 2, "cv2_linear")[..., 0], [[35, 175]] * 2)


def test_pils_bilinear_is_torchs_antialiased_one() -> None:
    image = np.random.default_rng(0).integers(0, 256, (61, 87, 3), dtype=np.uint8)
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(batch, (24, 24), mode="bilinear", antialias=True)[0].permute(1, 2, 0)
    difference = resize_image(image, 24, "pil_bilinear") - expected.numpy()
    assert np.abs(difference).max() <= 1  # grey levels: PIL rounds after each direction


@pytest.mark.parametrize("how", ["pil_bilinear", "cv2_linear"])
def test_an_image_of_the_right_size_stays_as_it_is(how) -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize_image(image, 7, how), image)


def test_mask_is_resized_to_the_nearest_pixel() -> None:
    """Of five pixels, those at (i + 0.5) * 5 / 3 = 0.83, 2.5, 4.17 are kept, as Pillow does it too."""
    mask = np.tile(np.array([1, 2, 3, 1, 2], dtype=np.uint8), (5, 1))
    small = resize_mask(mask, 3)
    np.testing.assert_array_equal(small, [[1, 3, 2]] * 3)
    np.testing.assert_array_equal(small, np.array(Image.fromarray(mask).resize((3, 3), Image.Resampling.NEAREST)))


def test_resized_mask_has_no_new_codes() -> None:
    mask = np.random.default_rng(0).choice(np.array([0, 127, 255], dtype=np.uint8), (37, 53))
    assert set(np.unique(resize_mask(mask, 64))) == {0, 127, 255}


# --- trimap_to_target

TRIMAP = np.array([[1, 2, 3]], dtype=np.uint8)  # pet, background, border


@pytest.mark.parametrize(("border", "code"), [("foreground", 255), ("background", 0), ("ignore", 127)])
def test_border_becomes_what_the_policy_says(border: str, code: int) -> None:
    target = trimap_to_target(TRIMAP, border)  # type: ignore[arg-type]
    assert target.dtype == np.uint8
    np.testing.assert_array_equal(target, [[255, 0, code]])


@pytest.mark.parametrize("border", ["foreground", "background", "ignore"])
def test_what_does_not_count_is_ignored_whatever_the_border(border: str) -> None:
    void = np.array([[1, 4, 2]], dtype=np.uint8)
    np.testing.assert_array_equal(trimap_to_target(void, border), [[255, 127, 0]])  # type: ignore[arg-type]


def test_random_border_is_half_foreground_and_leaves_the_rest() -> None:
    trimap = np.tile(TRIMAP, (10_000, 1))
    target = trimap_to_target(trimap, "random", np.random.default_rng(0))
    np.testing.assert_array_equal(target[:, :2], np.tile([255, 0], (10_000, 1)))
    assert set(np.unique(target[:, 2])) == {0, 255}
    assert 4_800 < np.count_nonzero(target[:, 2]) < 5_200  # 4 standard deviations of 50


def test_random_border_is_decided_by_the_generator() -> None:
    trimap = np.full((50, 50), 3, dtype=np.uint8)
    one, same, other = (trimap_to_target(trimap, "random", np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_trimap_itself_is_not_changed() -> None:
    trimap = TRIMAP.copy()
    trimap_to_target(trimap, "random", np.random.default_rng(0))
    np.testing.assert_array_equal(trimap, TRIMAP)


def test_a_program_in_the_shape_of_a_picture_is_not_run(tmp_path: Path) -> None:
    # Pillow hands EPS to Ghostscript, whatever the file is called
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (8, 8)).save(path, format="EPS")
    with Image.open(path) as opened:
        assert opened.format == "EPS"  # Pillow itself would take it
    with pytest.raises(ValueError, match=r"photo\.jpg: cannot be read as an image"):
        read_image(path)
