"""Segments photos with a trained network: `python -m src.inference run=<folder of a run> input=photos output=masks`.

For each photo it writes `<output>/<folders>/<name>.mask.png` of the photo's own size, and at the end `summary.csv`.
Keys: conf/inference.yaml; formats, names and what is kept: docs/inference.md. From Python: `load_model`, `predict`.
Exit code 0: every photo has its mask; 3: some photo failed, the others are done; 1: refused, or the disk is full; 130,
143, 138: stopped by SIGINT, SIGTERM, SIGUSR1 (the same command resumes).
"""

if __name__ == "__main__":  # the imports below take seconds
    if not __package__:  # `python src/inference.py`
        import sys

        sys.path[0] = __file__.rpartition("/src/")[0]
    from src.cli.console import expect_ctrl_c

    expect_ctrl_c()

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from omegaconf import DictConfig, OmegaConf

from src.cli.hydra_entry import hydra_command
from src.cli.overrides import parse_options

if TYPE_CHECKING:
    from src.prediction.load_model import Predictor
    from src.prediction.predict import Prediction
    from src.training.protocol import Tta

NEEDED = {
    "run": "the folder of a run, for example run=multirun_outputs/demo/unet-…",
    "input": "a photo, a folder or a glob, for example input=photos (not with split=)",
    "output": "a folder for the masks, for example output=masks",
}


def load_model(run: str | Path, device: str = "auto", allow_targets: Sequence[str] = ()) -> "Predictor":
    """The network of the run in the folder `run` with its best weights, on `device` (`auto`, `cpu`, `cuda:1`, `mps`).

    Nothing that the folder names is executed, unless it lies in one of the packages `allow_targets`. Raises ValueError
    for a folder that is not a run, or a device that is not there.
    """
    from src.prediction import load_model as loading

    return loading.load_model(Path(run), device, allow_targets)


def predict(
    model: "Predictor",
    image: str | Path | npt.NDArray[np.uint8],
    *,
    tta: "Tta" = "none",
    threshold: float = 0.5,
) -> "Prediction":
    """What `model` says of one photo of any size, at that size.

    Args:
        model: from `load_model`.
        image: path of a photo of any format, read as a viewer shows it (EXIF orientation applied, transparent parts on
            white), or uint8 RGB (H, W, 3) from 0 to 255.
        tta: probabilities averaged over the photo alone (`none`), also mirrored (`hflip`), also upside down (`flips`).
        threshold: a pixel is foreground above this probability, between 0 and 1.

    Returns:
        `mask`, bool (H, W), True on foreground, and `probability` of foreground, float32 (H, W) in [0, 1].

    Raises:
        ValueError: a file that cannot be read, an array of another type or shape, a `tta` or threshold not allowed.
    """
    from src.prediction.predict import predict_photo

    return predict_photo(model, image, tta, threshold)


@hydra_command("inference", paths=("run", "input", "root", "output", "cache"))
def inference(config: DictConfig) -> None:
    """Check everything, predict batch after batch, write a summary, print how it ended."""
    # torch takes seconds to import: --help must not wait for it
    from src.prediction.inference import Inference, InferenceOptions

    if config.split is not None and OmegaConf.is_missing(config, "input"):
        config.input = None
    warnings.filterwarnings("ignore", module="PIL")  # about odd metadata, which a user cannot change here
    if code := Inference.of(parse_options(InferenceOptions, config, NEEDED)).run():
        sys.exit(code)


if __name__ == "__main__":
    inference()
