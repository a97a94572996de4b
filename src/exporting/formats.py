"""A network as a program without Python, and the two formats of file that such a program is written to."""

import copy
import importlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import fx, nn
from torch.export import Dim, ExportedProgram

from src.base.errors import ConfigError
from src.prediction.load_model import Predictor
from src.training.metrics import foreground_logit
from src.training.state import mean_over_mirrored

INPUT, OUTPUT = "images", "logits"
# Takes normalized RGB float32 (B, 3, S, S), gives float32 (B, S, S), for any B.
Program = Callable[[torch.Tensor], torch.Tensor]
Format = Literal["onnx", "torch_export"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torch_export": ".pt2"}
PACKAGES: dict[Format, tuple[str, ...]] = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torch_export": ()}
# Where the description is in a file: a key of an ONNX model's metadata_props, an extra file of a .pt2.
ONNX_KEY = "segsweep"
EXTRA_FILE = "segsweep.json"
# Images are run in batches of these sizes, one after another.
BATCHES = (1, 2, 3)
# The largest difference of a probability that counts as the same; docs/export.md has what was measured.
BOUND = 1e-4


class ForegroundLogits(nn.Module):
    """`model` with one output, whatever the number of its channels: its mask is where the logit is above 0.

    `flip_tta`: the mean over the images and their mirror images, as in the run.
    """

    def __init__(self, model: nn.Module, flip_tta: bool) -> None:
        super().__init__()
        self.model, self.flip_tta = model, flip_tta

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalized RGB float32 (B, 3, S, S) -> float32 (B, S, S)."""
        return foreground_logit(mean_over_mirrored(self.model, images) if self.flip_tta else self.model(images))


def trace(model: nn.Module, size: int, flip_tta: bool = False) -> ExportedProgram:
    """`model`, on the CPU and in evaluation mode, as a program for images of `size` pixels and batches of any size.

    `flip_tta` as in `ForegroundLogits`.

    Raises what torch raises for a network that cannot be traced, for example one that decides by its input's values.
    """
    own = copy.deepcopy(model).requires_grad_(False).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    # one image would pass for a constant; not a real image, because the file keeps this example
    example = torch.zeros(2, 3, size, size)
    graph = ForegroundLogits(own, flip_tta).eval()
    with quiet():
        program = torch.export.export(graph, (example,), dynamic_shapes={INPUT: {0: Dim("batch", min=1)}})
    for module in program.graph_module.modules():
        if isinstance(module, fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)  # names folders of this machine and quotes the source
    return program


def require_packages(name: Format) -> None:
    """Raises ConfigError, saying what to install, when a package is missing that the format `name` needs."""
    missing = [package for package in PACKAGES[name] if importlib.util.find_spec(package) is None]
    if missing:
        raise ConfigError(
            [
                f"format: {name} needs {', '.join(missing)}, not installed here; "
                "pip install '.[export]' brings all, format=torch_export needs nothing"
            ]
        )


def package_versions(name: Format) -> dict[str, str]:
    """The versions of the packages that the format `name` needs."""
    with quiet():
        return {package: importlib.import_module(package).__version__ for package in PACKAGES[name]}


def write(name: Format, program: ExportedProgram, description: str) -> bytes:
    """The file of `program` in the format `name`, with its description inside."""
    with quiet():
        if name == "torch_export":
            file = io.BytesIO()
            torch.export.save(program, file, extra_files={EXTRA_FILE: description})
            return file.getvalue()
        exported = torch.onnx.export(
            program, (), input_names=[INPUT], output_names=[OUTPUT], dynamo=True, verbose=False
        )
        assert exported is not None
        exported.rename_axes({str(exported.model.graph.inputs[0].shape[0]): "batch"})  # type: ignore[index]
        exported.model.metadata_props[ONNX_KEY] = description
        # all in one: weights in a file beside it would get lost
        return exported.model_proto.SerializeToString()


def read(name: Format, content: bytes) -> Program:
    """The file `content` of the format `name` as a program that runs on the CPU."""
    if name == "torch_export":
        with quiet():
            return torch.export.load(io.BytesIO(content)).module()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])


@contextmanager
def quiet() -> Iterator[None]:
    """Hides the warnings of torch and onnxscript about their own code and absent packages."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@torch.inference_mode()
def largest_difference(program: Program, predictor: Predictor, images: torch.Tensor) -> float:
    """Of a probability, between `program`, fed as its description says, and the network; NaN if one of them is.

    Args:
        images: RGB uint8 (N, 3, S, S) with N the sum of BATCHES, S the size the network was trained at.
    """
    batches = images.split(list(BATCHES))
    expected = torch.cat([foreground_logit(predictor.runner.logits(batch)).cpu() for batch in batches])  # (N, S, S)
    got = torch.cat([program(_normalized(batch, predictor)) for batch in batches])  # (N, S, S)
    assert got.shape == expected.shape and got.dtype == expected.dtype == torch.float32
    return float((torch.sigmoid(got) - torch.sigmoid(expected)).abs().max())


def _normalized(images: torch.Tensor, predictor: Predictor) -> torch.Tensor:
    """(pixels / 255 - mean) / std as in the description, computed apart from `ModelRunner`."""
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1) for values in (predictor.config.data.mean, predictor.config.data.std)
    )
    return (images / 255 - mean) / std  # (B, 3, S, S)
