"""`model=external`: networks of segmentation_models_pytorch and torchvision, which `.[external]` installs."""

import importlib
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from src.models.blocks import OutChannels

PACKAGES = {"smp": "segmentation_models_pytorch", "torchvision": "torchvision.models.segmentation"}
# without the signs that make timm and the Hugging Face hub load something: a record may hold any name
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")]


class External(nn.Module):
    """Any architecture of a library, from random weights unless `encoder_weights` names others.

    It has no `minimum_size`: before a run, it is tried on the run's image size.

    Args:
        library: smp (segmentation_models_pytorch) or torchvision (torchvision.models.segmentation).
        architecture: as the library calls it: `unet`, `fpn`, …; `deeplabv3_resnet50`, `fcn_resnet50`, …
        out_channels: 1 or 2.
        encoder: of smp, `tu-<name>` for those of timm; None: its default (resnet34), and always with torchvision.
        encoder_weights: the library's name of pretrained weights, such as `imagenet` or `DEFAULT`; downloaded as
            training starts.
        options: further arguments of the library, none of them weights.

    Raises:
        ValueError: the library is not installed, or it has no such network.
    """

    def __init__(
        self,
        library: Literal["smp", "torchvision"],
        architecture: ModelName,
        out_channels: OutChannels = 1,
        encoder: ModelName | None = None,
        encoder_weights: ModelName | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        options = dict(options or {})
        if named := [key for key in options if "weights" in key or key == "pretrained"]:
            raise ValueError(f"options has {named[0]}; weights are named by encoder_weights alone")
        try:
            package = importlib.import_module(PACKAGES[library])
        except Exception as error:  # torchvision of another build than torch's raises a RuntimeError
            raise ValueError(
                f"{PACKAGES[library]} cannot be imported ({error}); python -m pip install '.[external]' installs it"
            ) from error
        if torch.get_default_device().type == "meta":  # a blueprint, or a network whose weights are a run's
            encoder_weights = None
        if library == "smp":
            options |= {"encoder_name": encoder} if encoder is not None else {}
            self.network = package.create_model(
                architecture, encoder_weights=encoder_weights, in_channels=3, classes=out_channels, **options
            )
            return
        if encoder is not None:
            raise ValueError(f"got encoder={encoder} with library=torchvision, whose architectures name theirs")
        models = importlib.import_module("torchvision.models")
        allowed = models.list_models(module=package)
        if architecture not in allowed:
            raise ValueError(f"got architecture={architecture} of torchvision; allowed: {', '.join(allowed)}")
        self.network = models.get_model(
            architecture, weights=None, weights_backbone=encoder_weights, num_classes=out_channels, **options
        )

    def forward(self, images: Tensor) -> Tensor:
        """Float images (B, 3, H, W), normalized -> logits (B, out_channels, H, W)."""
        logits = self.network(images)
        result: Tensor = logits["out"] if isinstance(logits, dict) else logits  # torchvision's has `aux` beside it
        return result
