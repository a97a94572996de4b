"""Segments photos with a trained network: `python -m src.inference run=<folder of a run> input=photos output=masks`.

For each photo it writes `<output>/<folders>/<name>.mask.png` of the photo's own size, and at the end `summary.csv`.
Keys: conf/inference.yaml; formats, names and what is kept: docs/inference.md. From Python: `load_model`, `predict`.
Exit code 0: every photo has its mask; 3: some photo failed, the others are done; 1: refused, or the disk is full; 130,
143, 138: stopped by SIGINT, SIGTERM, SIGUSR1 (the same command resumes).
"""

if __name__ == "__main__":  # the imports below take seconds
    from src.cli.console import expect_ctrl_c

    expect_ctrl_c()

import signal
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from omegaconf import DictConfig, OmegaConf

from src.cli.hydra_entry import hydra_command
from src.cli.overrides import parse_options

if TYPE_CHECKING:
    from src.prediction.inference import Inference
    from src.prediction.load_model import Predictor
    from src.prediction.outputs import Outcome
    from src.prediction.predict import Prediction
    from src.training.protocol import Tta

NEEDED = {
    "run": "the folder of a run, for example run=multirun_outputs/demo/unet-…",
    "input": "a photo, a folder or a glob, for example input=photos (not with split=)",
    "output": "a folder for the masks, for example output=masks",
}
SOME_FAILED = 3


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
def inference(config: DictConfig) -> int:
    """Check everything, predict batch after batch, write a summary, print how it ended."""
    # torch takes seconds to import: --help must not wait for it
    from src.prediction.inference import Inference, InferenceOptions

    if config.split is not None and OmegaConf.is_missing(config, "input"):
        config.input = None
    warnings.filterwarnings("ignore", module="PIL")  # about odd metadata, which a user cannot change here
    return _predict_all(Inference.of(parse_options(InferenceOptions, config, NEEDED)))


def _predict_all(job: "Inference") -> int:
    """Predicts all photos; returns the exit code. Writes a summary however it ends."""
    from src.prediction.outputs import closing_line, failure_lines, write_summary

    folder = job.outputs.folder
    outcomes: list[Outcome] = []
    folder.mkdir(parents=True, exist_ok=True)
    try:
        signal_number = _collect(job, outcomes)
    except (ValueError, OSError):
        with suppress(OSError):  # the first error is the one to report
            write_summary(outcomes, folder)
        raise
    write_summary(outcomes, folder)
    for line in failure_lines(outcomes):
        print(line, file=sys.stderr)
    if signal_number is not None:
        print(_interrupted(len(outcomes), job), file=sys.stderr)
        return 128 + signal_number
    print(closing_line(outcomes, folder, job.inputs.left_out))
    return SOME_FAILED if any(outcome.status == "failed" for outcome in outcomes) else 0


def _collect(job: "Inference", outcomes: "list[Outcome]") -> int | None:
    """Adds to `outcomes` until all photos are done or a signal comes, whose number is returned."""
    from tqdm import tqdm

    from src.training.stopping import Interrupted, StopRequest

    stop = StopRequest()
    try:
        with stop.listening(), tqdm(total=len(job.inputs.photos), unit="photo", disable=None) as progress:
            for batch in job.batches():
                outcomes += batch
                progress.update(len(batch))
                stop.check()
    except Interrupted as request:
        return request.signal_number
    except KeyboardInterrupt:  # the second Ctrl-C, or the first beyond the main thread
        return int(signal.SIGINT)
    return None


def _interrupted(done: int, job: "Inference") -> str:
    again = "starts again, without overwrite=true it resumes" if job.outputs.overwrite else "resumes"
    return f"interrupted after {done:,} of {len(job.inputs.photos):,} photos; the same command {again}"


if __name__ == "__main__":
    inference()
