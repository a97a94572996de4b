"""A mask laid on its image whatever their EXIF data say, and 16-bit images whose bits the whole data set decides."""

import hashlib
import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from src.data.decoding import DataChanged, PairDecoder
from src.data.images import Exif, ImageReader
from src.data.masks import MaskReader
from src.data.open_data import notes_of
from src.data.pairs import Splits
from src.data.sources.folder import open_folder
from src.data.verify import verify

SCENE = np.zeros((20, 30, 3), dtype=np.uint8)  # as annotation tools show it: a white corner, cut off
SCENE[:8, :20] = 255
SCENE[:3, :3] = 0
MASK = SCENE[..., 0]


def opened(root: Path, exif: Exif = "apply") -> Splits:
    decoder = PairDecoder(ImageReader(exif), MaskReader(binary=True))
    return verify(open_folder(root, decoder=decoder), root / "cache")[0]


def read(splits: Splits) -> list[tuple[np.ndarray, np.ndarray]]:
    return [splits.decoder(pair.image, pair.mask) for pair in [*splits.train, *splits.valid, *splits.test]]


def said_of(splits: Splits) -> list[str]:
    """Of how files are read; that these images are all the same is said too."""
    return [note for note in notes_of(splits) if " images too: " not in note]


def refusal(root: Path, exif: Exif = "apply") -> str:
    with pytest.raises(ValueError) as raised:
        opened(root, exif)
    return str(raised.value)


def tagged(shown: np.ndarray, orientation: int, kind: str) -> bytes:
    """A file that is `shown` when it is turned as its tag says; Pillow's own turning is undone by trying."""
    content = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    for turn in [None, *Image.Transpose]:
        stored = Image.fromarray(shown) if turn is None else Image.fromarray(shown).transpose(turn)
        probe = stored.copy()
        probe.getexif()[0x0112] = orientation
        if np.array_equal(np.array(ImageOps.exif_transpose(probe)), shown):
            stored.save(content, kind, exif=exif)
            return content.getvalue()
    raise AssertionError(orientation)


def write(root: Path, image: bytes, mask: bytes, count: int = 10) -> None:
    for name, content in (("images", image), ("masks", mask)):
        (root / name).mkdir(parents=True)
        for number in range(count):
            (root / name / f"{number:02}.png").write_bytes(content)


def png(pixels: np.ndarray) -> bytes:
    return tagged(pixels, 1, "PNG")


def assert_meet(splits: Splits) -> None:
    for image, trimap in read(splits):
        np.testing.assert_array_equal(image, SCENE)
        np.testing.assert_array_equal(trimap, np.where(MASK == 255, 1, 2))


# --- EXIF orientations

ORIENTATIONS = range(1, 9)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_mask_drawn_on_the_turned_image_meets_it(tmp_path: Path, orientation: int, kind: str) -> None:
    image = tagged(SCENE, orientation, kind) if kind != "WEBP" else lossless(SCENE, orientation)
    write(tmp_path, image, png(MASK))
    assert_meet(opened(tmp_path))


def lossless(shown: np.ndarray, orientation: int) -> bytes:
    stored = Image.open(io.BytesIO(tagged(shown, orientation, "PNG")))
    content = io.BytesIO()
    Image.fromarray(np.array(stored)).save(content, "WEBP", lossless=True, exif=stored.getexif())
    return content.getvalue()


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_so_does_one_of_a_square_image(tmp_path: Path, orientation: int) -> None:
    """Nothing but the rule decides here: the size fits either way."""
    square = SCENE[:20, :20]
    write(tmp_path, tagged(square, orientation, "PNG"), png(MASK[:20, :20]))
    for image, trimap in read(opened(tmp_path)):
        np.testing.assert_array_equal(image, square)
        np.testing.assert_array_equal(trimap, np.where(MASK[:20, :20] == 255, 1, 2))


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_that_fits_the_stored_pixels_alone_is_turned_like_its_image(tmp_path: Path, orientation: int) -> None:
    stored = np.array(Image.open(io.BytesIO(tagged(MASK, orientation, "PNG"))))
    write(tmp_path, tagged(SCENE, orientation, "PNG"), png(stored))
    splits = opened(tmp_path)
    assert_meet(splits)
    assert said_of(splits) == [
        "10 of 10 images are turned by their EXIF orientation, 10 of the masks too; other masks are taken as drawn on "
        "the turned image (data.exif=ignore reads stored pixels)"
    ]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("of_image", [1, 3, 6])
def test_a_mask_is_turned_as_its_own_orientation_says(tmp_path: Path, orientation: int, of_image: int) -> None:
    """As a viewer shows both files, they meet."""
    write(tmp_path, tagged(SCENE, of_image, "PNG"), tagged(MASK, orientation, "PNG"))
    assert_meet(opened(tmp_path))


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_whose_own_orientation_does_not_fit_is_taken_as_it_is(tmp_path: Path, orientation: int) -> None:
    """A tag that an annotation tool copied, though it had turned the photo already."""
    content, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(MASK).save(content, "PNG", exif=exif)
    write(tmp_path, tagged(SCENE, orientation, "PNG"), content.getvalue())
    assert_meet(opened(tmp_path))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_stored_pixels_are_read_where_that_is_asked_for(tmp_path: Path, orientation: int, kind: str) -> None:
    image, mask = (tagged(pixels, orientation, kind) for pixels in (SCENE, MASK))
    write(tmp_path, image, mask)
    stored = np.array(Image.open(io.BytesIO(tagged(SCENE, orientation, "PNG"))))
    splits = opened(tmp_path, "ignore")
    for pixels, trimap in read(splits):
        np.testing.assert_array_equal(pixels, stored)
        np.testing.assert_array_equal(trimap, np.where(stored[..., 0] == 255, 1, 2))
    assert said_of(splits) == []


def test_a_mask_that_fits_neither_way_is_refused_with_the_orientation(tmp_path: Path) -> None:
    write(tmp_path, tagged(SCENE, 6, "PNG"), png(MASK[:19]))
    assert "the mask is 30 x 19 pixels, its image 30 x 20 (EXIF orientation 6, data.exif=apply)" in refusal(tmp_path)
    assert "its image 20 x 30 (EXIF orientation 6, data.exif=ignore)" in refusal(tmp_path, "ignore")


def test_plain_files_are_said_nothing_of(tmp_path: Path) -> None:
    write(tmp_path, png(SCENE), png(MASK))
    assert said_of(opened(tmp_path)) == []


def fingerprint_of(root: Path, exif: Exif = "apply") -> str:
    reader = PairDecoder(ImageReader(exif), MaskReader(binary=True))
    return verify(open_folder(root, decoder=reader), root / "nowhere")[1]


def test_the_fingerprint_tells_readings_of_the_same_bytes_apart(tmp_path: Path) -> None:
    write(tmp_path / "turned", tagged(SCENE, 6, "PNG"), png(MASK[:, :20]))
    write(tmp_path / "square", tagged(SCENE[:, :20], 6, "PNG"), png(MASK[:, :20]))
    write(tmp_path / "plain", png(SCENE), png(MASK))
    assert fingerprint_of(tmp_path / "square") != fingerprint_of(tmp_path / "square", "ignore")
    assert fingerprint_of(tmp_path / "plain") == fingerprint_of(tmp_path / "plain", "ignore")


# --- transparency


def test_transparent_pixels_lie_on_white_and_it_is_said(tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.fromarray(np.dstack([SCENE, MASK])).save(content, "PNG")  # what is black is transparent
    write(tmp_path, content.getvalue(), png(MASK))
    splits = opened(tmp_path)
    assert all((image == 255).all() for image, _ in read(splits))
    assert said_of(splits) == ["10 of 10 images have transparent pixels, which are shown on white"]


# --- 16 bits


def deep(values: np.ndarray, kind: str = ".png") -> bytes:
    return cv2.imencode(kind, values.astype(np.uint16))[1].tobytes()


@pytest.mark.parametrize(("kind", "channels"), [(".png", 1), (".png", 3), (".tiff", 1), (".tiff", 3), (".ppm", 3)])
@pytest.mark.parametrize(("highest", "bits"), [(255, 8), (256, 10), (1023, 10), (4095, 12), (4096, 16), (65535, 16)])
def test_the_bits_in_use_are_those_of_the_highest_value(
    tmp_path: Path, highest: int, bits: int, channels: int, kind: str
) -> None:
    """One image alone has it; all are scaled alike."""
    values = np.tile(np.linspace(0, highest, 30).astype(np.uint16)[:, None], (20, 1, channels))
    write(tmp_path, deep(values, kind), png(MASK))
    dim = values // 2
    for path in sorted((tmp_path / "images").iterdir())[1:]:
        path.write_bytes(deep(dim, kind))
    splits = opened(tmp_path)
    assert splits.decoder.images.bits == bits
    assert (
        f"10 of 10 images have 16 bits, of which {bits} are in use: the highest value is {highest}"
        in said_of(splits)[0]
    )
    images = {pair.stem: splits.decoder.images(pair.image) for pair in (*splits.train, *splits.valid, *splits.test)}
    np.testing.assert_array_equal(images["00"][0, :, 0], values[0, :, 0] >> (bits - 8))
    np.testing.assert_array_equal(images["01"][0, :, 2], dim[0, :, 0] >> (bits - 8))


def test_colors_of_16_bits_are_red_green_and_blue_and_turned(tmp_path: Path) -> None:
    """A PNG of OpenCV, which takes blue first, with an EXIF chunk that says: a quarter turn clockwise."""
    stored = np.zeros((2, 3, 3), dtype=np.uint16)
    stored[0, 0] = (100, 200, 4000)
    content = deep(stored)
    exif = b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00"
    chunk = b"eXIf" + exif
    content = (
        content[:33]
        + struct.pack(">I", len(exif))
        + chunk
        + struct.pack(">I", __import__("zlib").crc32(chunk))
        + content[33:]
    )
    (tmp_path / "photo.png").write_bytes(content)
    image = ImageReader(bits=12)(tmp_path / "photo.png")
    assert image.shape == (3, 2, 3) and image[0, 1].tolist() == [250, 12, 6] and image.sum() == 268


@pytest.mark.parametrize("kind", [".png", ".tiff"])
def test_16_bits_with_transparency_are_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "photo").write_bytes(deep(np.full((20, 30, 4), 200), kind))
    with pytest.raises(ValueError, match=r"photo: cannot be read as an image \(16 bits a channel and transparency"):
        ImageReader(bits=8)(tmp_path / "photo")


def test_an_image_that_would_be_black_among_brighter_ones_is_refused(tmp_path: Path) -> None:
    write(tmp_path, deep(np.full((20, 30), 60000)), png(MASK))
    (tmp_path / "images" / "03.png").write_bytes(deep(np.full((20, 30), 255)))
    said = refusal(tmp_path)
    assert "1 problem in 10" in said
    assert "03.png: is a 16-bit image whose values end at 255; those of the data set use 16 bits and end at 256" in said


def test_what_is_left_out_does_not_decide_the_bits(tmp_path: Path) -> None:
    write(tmp_path, deep(np.full((20, 30), 255)), png(MASK))
    (tmp_path / "images" / "03.png").write_bytes(deep(np.full((19, 30), 60000)))
    reader = PairDecoder(masks=MaskReader(binary=True))
    splits, _ = verify(open_folder(tmp_path, decoder=reader), tmp_path / "cache", "skip")
    assert splits.decoder.images.bits == 8 and len(splits.skipped) == 1


def test_a_wholly_black_image_and_8_bit_ones_may_stand_among_them(tmp_path: Path) -> None:
    write(tmp_path, deep(np.full((20, 30), 900)), png(MASK))
    (tmp_path / "images" / "03.png").write_bytes(deep(np.zeros((20, 30))))
    (tmp_path / "images" / "04.png").write_bytes(png(SCENE))
    splits = opened(tmp_path)
    assert splits.decoder.images.bits == 10 and "9 of 10 images have 16 bits" in said_of(splits)[0]


@pytest.mark.parametrize(
    ("highest", "bits", "said"),
    [
        (900, None, "values end at 900; whether it is dark or uses 10 bits cannot be known"),
        (5000, 12, "values end at 5000; those of the data set use 12 bits and end at 16 to 4095"),
        (15, 12, "values end at 15; those of the data set use 12 bits and end at 16 to 4095"),
    ],
)
def test_a_photo_of_other_bits_than_those_trained_on_is_refused(tmp_path: Path, highest, bits, said) -> None:
    (tmp_path / "photo.png").write_bytes(deep(np.full((4, 4), highest)))
    with pytest.raises(ValueError, match=f"photo.png: is a 16-bit image whose {said}"):
        ImageReader(bits=bits)(tmp_path / "photo.png")


def test_what_is_read_has_the_expected_digest(tmp_path: Path) -> None:
    write(tmp_path, png(SCENE), png(MASK), count=1)
    image, mask = tmp_path / "images" / "00.png", tmp_path / "masks" / "00.png"
    right = hashlib.sha256(png(SCENE)).hexdigest(), hashlib.sha256(png(MASK)).hexdigest()
    decoder = PairDecoder(masks=MaskReader(binary=True))
    assert np.array_equal(decoder(image, mask, right)[0], SCENE)
    with pytest.raises(DataChanged, match=r"00\.png: has changed since the data set was checked; bring it back"):
        decoder(image, mask, (right[0], right[0]))
