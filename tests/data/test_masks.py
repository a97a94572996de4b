"""What a mask file becomes: one table of cases, each read as the only kind of its data set, or refused by name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.data.decoding import PairDecoder
from src.data.images import ImageReader
from src.data.masks import MaskReader
from src.data.open_data import notes_of
from src.data.pairs import Splits
from src.data.sources.folder import open_folder
from src.data.verify import verify

SHAPE = np.array([[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1]], dtype=np.uint8)  # 1 is foreground
TRIMAP = np.where(SHAPE == 1, 1, 2)
FULL, EMPTY = np.ones_like(SHAPE), np.zeros_like(SHAPE)
Draw = Callable[[np.ndarray], Image.Image]


def grey(values: int | float, dtype: type = np.uint8) -> Draw:
    return lambda shape: Image.fromarray((shape.astype(float) * values).astype(dtype))


def in_alpha(mode: str, color: int | tuple[int, ...]) -> Draw:
    """One color everywhere, the shape in the alpha."""

    def draw(shape: np.ndarray) -> Image.Image:
        image = Image.new(mode[:-1], shape.shape[::-1], color)
        image.putalpha(Image.fromarray(shape * 255))
        return image

    return draw


def palette(colors: list[int], values: int = 1, first: int = 0) -> Draw:
    def draw(shape: np.ndarray) -> Image.Image:
        image = Image.fromarray(shape * values + first)
        image.putpalette(colors)
        return image

    return draw


def painted(color: tuple[int, ...]) -> Draw:
    """A shape of one color; around it nothing, as drawing programs leave it."""
    return lambda shape: Image.fromarray(shape[..., np.newaxis] * np.array(color, dtype=np.uint8))


def opaque(shape: np.ndarray) -> Image.Image:
    image = Image.fromarray(shape * 255).convert("RGB")
    image.putalpha(255)
    return image


VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0]
READ: dict[str, Draw] = {
    "8 bits of 0 and 1": grey(1),
    "8 bits of 0 and 255": grey(255),
    "16 bits of 0 and 1": grey(1, np.uint16),
    "16 bits of 0 and 255": grey(255, np.uint16),
    "16 bits of 0 and 65535": grey(65535, np.uint16),
    "fractions of 0.0 and 1.0": grey(1, np.float32),
    "fractions of 0.0 and 255.0": grey(255, np.float32),
    "1 bit": lambda shape: Image.fromarray(shape == 1),
    "grey as RGB": lambda shape: Image.fromarray(shape * 255).convert("RGB"),
    "grey as opaque RGBA": opaque,
    "grey with opaque alpha": lambda shape: Image.fromarray(shape * 255).convert("LA"),
    "a palette of classes": palette(VOC),
    "a palette of shades": lambda shape: palette([255, 255, 255, 128, 128, 128, 0, 0, 0])(2 - 2 * shape),
    "a palette of black and white": palette([0, 0, 0, 255, 255, 255]),
    "a palette of white and black": lambda shape: palette([255, 255, 255, 0, 0, 0])(1 - shape),
    "a palette of black alone": palette([0] * 6),
    "a palette of black alone up to 255": palette([0] * 768, 255),
    "white with the shape in its alpha": in_alpha("RGBA", (255, 255, 255)),
    "black with the shape in its alpha": in_alpha("RGBA", (0, 0, 0)),
    "red with the shape in its alpha": in_alpha("RGBA", (255, 0, 0)),
    "grey with the shape in its alpha": in_alpha("LA", 128),
    "a white shape on nothing": painted((255, 255, 255, 255)),
    "a red shape on nothing": painted((255, 0, 0, 255)),
}


def write(root: Path, masks: list[Image.Image], **options: object) -> None:
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number, mask in enumerate(masks):
        Image.new("RGB", mask.size, "gray").save(root / "images" / f"{number:02}.png")
        # fractions need TIFF
        kind = "tif" if mask.mode == "F" else "png"
        mask.save(root / "masks" / f"{number:02}.{kind}", **options)


def opened(root: Path, **settings: float | None) -> Splits:
    reader = PairDecoder(ImageReader(), MaskReader(binary=True, **settings))  # type: ignore[arg-type]
    return verify(open_folder(root, decoder=reader), root / "cache")[0]


def trimaps(splits: Splits) -> list[np.ndarray]:
    """In the order of the names."""
    pairs = sorted([*splits.train, *splits.valid, *splits.test], key=lambda pair: pair.stem)
    return [splits.decoder(pair.image, pair.mask)[1] for pair in pairs]


def refusal(root: Path, **settings: float | None) -> str:
    with pytest.raises(ValueError) as raised:
        opened(root, **settings)
    return str(raised.value)


@pytest.mark.parametrize("draw", READ.values(), ids=READ)
def test_each_kind_of_mask_is_read(tmp_path: Path, draw: Draw) -> None:
    """Empty and full ones too, whose kind only the others tell."""
    write(tmp_path, [draw(shape) for shape in (SHAPE, EMPTY, FULL, *[SHAPE] * 9)])
    found = trimaps(opened(tmp_path))
    assert all(trimap.dtype == np.uint8 for trimap in found)
    for trimap, expected in zip(found, [TRIMAP, EMPTY + 2, FULL, *[TRIMAP] * 9], strict=True):
        np.testing.assert_array_equal(trimap, expected)


@pytest.mark.long
def test_a_1_bit_file_goes_with_either_way(tmp_path: Path) -> None:
    bits, eight = READ["1 bit"](SHAPE), READ["8 bits of 0 and 255"](SHAPE)
    write(tmp_path, [bits, *[eight] * 9, READ["16 bits of 0 and 65535"](SHAPE)])
    np.testing.assert_array_equal(trimaps(opened(tmp_path)), [TRIMAP] * 11)


def test_masks_of_most_files_decide_and_the_others_are_named(tmp_path: Path) -> None:
    write(tmp_path, [grey(1)(SHAPE), grey(255)(EMPTY), *[grey(255)(SHAPE)] * 9])
    said = refusal(tmp_path)
    assert "1 problem in 11 images and their masks" in said
    assert "00.png: mask values 0, 1; this data set's masks hold 0 (background) and 255" in said


# --- data.ignore_value


@pytest.mark.parametrize(
    ("void", "values"), [(255, (0, 1, 255)), (128, (0, 255, 128)), (7, (0, 1, 7)), (65535, (0, 1, 65535))]
)
def test_pixels_of_the_value_to_ignore_do_not_count(tmp_path: Path, void: int, values: tuple[int, ...]) -> None:
    """A file may hold it beside background alone, or nothing else."""
    codes = SHAPE.copy()
    codes[0, 0] = codes[1, 3] = 2
    drawn = np.array(values, dtype=np.uint16 if void > 255 else np.uint8)
    write(tmp_path, [Image.fromarray(drawn[kind]) for kind in (codes, 2 * SHAPE, 2 * FULL, *[codes] * 7)])
    found = trimaps(opened(tmp_path, ignore=void))
    np.testing.assert_array_equal(found[0], [[4, 2, 1, 1], [2, 1, 1, 4], [2, 2, 2, 1]])
    np.testing.assert_array_equal(found[1], np.where(SHAPE == 1, 4, 2))
    np.testing.assert_array_equal(found[2], FULL * 4)


def test_a_third_value_is_refused_with_the_key_that_leaves_it_out(tmp_path: Path) -> None:
    codes = SHAPE.copy()
    codes[0, 0] = 2
    write(tmp_path, [Image.fromarray(np.array((0, 255, 128), dtype=np.uint8)[codes])] * 10)
    assert "mask values 0, 128, 255; " in refusal(tmp_path) and "data.ignore_value=<value> leaves" in refusal(tmp_path)


def test_a_value_to_ignore_that_leaves_no_foreground_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [grey(255)(SHAPE)] * 10)
    assert "no mask has any foreground with data.ignore_value=255" in refusal(tmp_path, ignore=255)


# --- data.mask_threshold


@pytest.mark.parametrize("threshold", [0.5, 127])
@pytest.mark.parametrize(("white", "dtype"), [(255, np.uint8), (65535, np.uint16), (1, np.float32)])
def test_a_threshold_reads_blurred_masks_of_any_depth(tmp_path: Path, threshold: float, white: int, dtype) -> None:
    """Just above and just below half of white, and an empty mask with a trace of grey."""
    soft = np.array([[0.0, 0.1, 0.49, 0.51, 0.9, 1.0]])
    masks = [Image.fromarray((shares * white).astype(dtype)) for shares in (soft, soft / 100)]
    write(tmp_path, [masks[0], masks[1], *[masks[0]] * 8])
    found = trimaps(opened(tmp_path, threshold=threshold))
    assert found[0].tolist() == [[2, 2, 2, 1, 1, 1]] and found[1].tolist() == [[2] * 6]


def test_a_threshold_reads_the_shades_of_a_palette(tmp_path: Path) -> None:
    """As programs store few shades of grey: the commonest first."""
    shades = palette([0, 0, 0, 255, 255, 255, 140, 140, 140, 100, 100, 100])
    write(tmp_path, [shades(np.array([[0, 1, 2, 3]], dtype=np.uint8))] * 10)
    assert trimaps(opened(tmp_path, threshold=127))[0].tolist() == [[2, 1, 1, 2]]


def test_a_threshold_reads_hard_masks_as_they_are(tmp_path: Path) -> None:
    write(tmp_path, [grey(1)(SHAPE)] * 10)
    np.testing.assert_array_equal(trimaps(opened(tmp_path, threshold=127)), [TRIMAP] * 10)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_is_refused_with_the_key_and_read_with_it(tmp_path: Path, mode: str) -> None:
    big = np.kron(SHAPE, np.ones((9, 7), dtype=np.uint8))
    write(tmp_path, [grey(255)(big)] * 10)
    for path in (tmp_path / "masks").iterdir():
        Image.open(path).convert(mode).save(path, "JPEG", quality=60)
    assert "data.mask_threshold=0.5 takes" in refusal(tmp_path)
    for trimap in trimaps(opened(tmp_path, threshold=0.5)):
        assert (trimap != np.where(big == 1, 1, 2)).mean() < 0.02


def test_a_mask_of_0_and_1_among_others_is_not_lost_below_the_threshold(tmp_path: Path) -> None:
    write(tmp_path, [grey(1)(SHAPE), *[grey(255)(SHAPE)] * 9])
    assert "mask values 0, 1, all below the threshold, where other masks hold up to 255" in refusal(
        tmp_path, threshold=0.5
    )


@pytest.mark.parametrize("value", [0.5, 127])
def test_a_threshold_that_leaves_no_foreground_is_refused(tmp_path: Path, value: float) -> None:
    write(tmp_path, [grey(100)(SHAPE)] * 10)
    assert f"no mask has any foreground with data.mask_threshold={value}" in refusal(tmp_path, threshold=value)


# --- what says nothing, or two things


def contradicting(shape: np.ndarray) -> Image.Image:
    image = Image.fromarray(shape * 255).convert("RGB")
    image.putalpha(Image.fromarray(255 - np.roll(shape, 1, axis=0) * 255))
    return image


REFUSED: dict[str, tuple[Draw, dict[str, object], str]] = {
    "two colors": (
        lambda shape: Image.fromarray(np.dstack([shape * 255, shape, 1 - shape])),
        {},
        "this one is colored",
    ),
    "a print": (lambda shape: opaque(shape).convert("RGB").convert("CMYK"), {"format": "TIFF"}, "colored (mode CMYK)"),
    "color against alpha": (contradicting, {}, "its color and its alpha contradict each other"),
    "index against alpha": (palette([0] * 6), {"transparency": b"\xff\x00"}, "its index and its alpha contradict"),
    "nothing but white that is not seen": (in_alpha("RGBA", (255,) * 3), {}, "is transparent everywhere"),
    "fractions": (grey(0.5, np.float32), {}, "data.mask_threshold=0.5"),
    "no numbers": (lambda shape: grey(np.nan, np.float32)(FULL), {}, "holds values that are not numbers"),
    "negative fractions": (grey(-1, np.float32), {}, "mask values -1, "),
    "many values": (lambda shape: Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)), {}, "8, 9, ...; "),
}


@pytest.mark.parametrize(("draw", "options", "said"), REFUSED.values(), ids=REFUSED)
def test_what_says_nothing_or_two_things_is_refused_by_name(tmp_path: Path, draw: Draw, options, said: str) -> None:
    write(tmp_path, [draw(EMPTY if said == "is transparent everywhere" else SHAPE)] * 10, **options)
    message = refusal(tmp_path)
    assert "10 problems in 10 images and their masks" in message
    assert "masks/00." in message and said in message


def test_masks_in_color_are_refused_among_masks_in_alpha(tmp_path: Path) -> None:
    """An opaque black one would be nothing by its color, and everything by its alpha."""
    black = in_alpha("RGBA", (0, 0, 0))
    write(tmp_path, [opaque(SHAPE), black(FULL), *[black(SHAPE)] * 9])
    message = refusal(tmp_path)
    assert "1 problem in 11" in message and "00.png: holds its mask in its color, while other masks" in message


def test_a_palette_is_its_alpha_where_its_color_is_one(tmp_path: Path) -> None:
    """Index 1 and 2, so that only the alpha tells a shape."""
    write(tmp_path, [palette([0] * 9, first=1)(SHAPE)] * 10, transparency=b"\x00\x00\xff")
    np.testing.assert_array_equal(trimaps(opened(tmp_path)), [TRIMAP] * 10)


def test_it_is_said_how_many_masks_lie_in_their_alpha(tmp_path: Path) -> None:
    write(tmp_path, [*[in_alpha("RGBA", (255,) * 3)(SHAPE)] * 10, grey(255)(SHAPE)])
    said = "10 of 11 masks are read from their alpha channel, since their color is uniform"
    assert said in notes_of(opened(tmp_path))


def test_what_the_data_set_decided_is_remembered(tmp_path: Path) -> None:
    draw = in_alpha("RGBA", (0, 0, 0))
    write(tmp_path, [draw(SHAPE) for _ in range(10)])
    first, again = opened(tmp_path), opened(tmp_path)
    assert (tmp_path / "cache" / "verified").exists() and again.decoder == first.decoder
    assert [pair.facts for pair in again.train] == [pair.facts for pair in first.train]


def test_32_bit_values_beyond_16_are_refused(tmp_path: Path) -> None:
    write(tmp_path, [grey(255)(SHAPE)] * 10)
    Image.fromarray(SHAPE.astype(np.int32) * 70000).save(tmp_path / "masks" / "00.png", "TIFF")
    assert "00.png: cannot be read as an image (32-bit values from 0 to 70000, allowed are" in refusal(tmp_path)


# --- official trimaps


def test_official_trimaps_are_their_codes_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "trimap.png"
    Image.fromarray(SHAPE + 1).save(path)
    np.testing.assert_array_equal(MaskReader()(path), SHAPE + 1)
    palette([9] * 3 + [0] * 3 + [255] * 3 + [128] * 3, first=1)(SHAPE).save(path)
    np.testing.assert_array_equal(MaskReader()(path), SHAPE + 1)
    Image.fromarray(SHAPE).save(path)
    with pytest.raises(ValueError, match=r"trimap\.png: trimap values 0, 1, allowed are 1 pet, 2 background, 3 border"):
        MaskReader()(path)
