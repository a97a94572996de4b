import albumentations
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from src.base.errors import ConfigError
from src.benchmarking.baseline_loop import baseline_epoch, baseline_loader, load_make_step
from src.data.open_data import open_data
from src.training.checks import checked


@pytest.fixture
def config(composed, small):
    return checked(composed(*small, "augmentation=none"))


def test_an_image_is_decoded_resized_and_normalised_as_pil_and_albumentations_do(config):
    splits = open_data(config.data)
    image, mask = baseline_loader(splits.train, splits.decoder, config).dataset[3]
    pair = splits.train[3]
    by_hand = np.array(Image.open(pair.image).convert("RGB").resize((32, 32), Image.Resampling.BILINEAR))
    by_hand = albumentations.Normalize()(image=by_hand)["image"].transpose(2, 0, 1)
    assert np.allclose(image.numpy(), by_hand, atol=1e-6) and image.dtype == torch.float32
    trimap = np.array(Image.open(pair.mask).resize((32, 32), Image.Resampling.NEAREST))
    assert np.array_equal(mask.numpy()[0], (trimap != 2).astype(np.float32))


def test_its_epoch_takes_the_steps_and_trains(config):
    splits = open_data(config.data)
    loader = baseline_loader(splits.train, splits.decoder, config)
    torch.manual_seed(0)
    model = nn.Conv2d(3, 1, 1)
    before = model.weight.clone()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    steps: list[int] = []
    baseline_epoch(model, optimizer, loader, torch.device("cpu"), steps.append)
    assert steps == [1, 2, 3, 4, 5]  # 18 images in batches of 4
    assert not torch.equal(model.weight, before)


def script_of(tmp_path, text):
    path = tmp_path / "theirs.py"
    path.write_text(text)
    return str(path)


def test_a_script_gives_its_make_step(tmp_path):
    script = script_of(tmp_path, "def make_step(*facts):\n    return lambda images, masks: facts")
    assert load_make_step(script)(1, 2)(None, None) == (1, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "it takes the path of a Python file"),
        ("step = 1", "theirs.py does not define make_step(model, device, batch_size, image_size)"),
        ("\n1 / 0", "theirs.py, line 2: ZeroDivisionError: division by zero"),
        ("def (", "theirs.py: SyntaxError: invalid syntax"),
    ],
)
def test_a_script_that_cannot_be_used_gets_a_line(tmp_path, text, said):
    script = str(tmp_path) if text is None else script_of(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load_make_step(script)
    assert len(error.value.problems) == 1 and said in error.value.problems[0]
