"""The parts that several networks share: double convolutions, up-blocks with a skip, checks of arguments."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DoubleConv(nn.Sequential):
    """(3x3 convolution, BatchNorm, ReLU) twice, size kept: (B, in_channels, H, W) -> (B, out_channels, H, W).

    `batch_norm` and `conv_bias` follow the reports: A has BatchNorm, no bias; B has both; D's UNet only bias.
    """

    def __init__(self, in_channels: int, out_channels: int, conv_bias: bool, batch_norm: bool = True) -> None:
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            layers.append(nn.Conv2d(channels, out_channels, kernel_size=3, padding=1, bias=conv_bias))
            if batch_norm:
                layers.append(nn.BatchNorm2d(out_channels))
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class UpBlock(nn.Module):
    """Doubles the size with a transposed convolution, joins the skip and mixes both with a DoubleConv.

    So in reports A and B, and in D's UNet. The transposed convolution already goes down to `out_channels`; it
    always has a bias.
    """

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        out_channels: int,
        conv_bias: bool,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2)
        self.mix = DoubleConv(skip_channels + out_channels, out_channels, conv_bias, batch_norm)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """(B, in_channels, h, w) and (B, skip_channels, H, W), H about 2h -> (B, out_channels, H, W)."""
        return self.mix(join_skip(skip, self.upsample(features)))


def join_skip(skip: Tensor, upsampled: Tensor) -> Tensor:
    """Concatenate the skip (B, S, H, W), first, and the upsampled map (B, C, h, w) brought to its size.

    Returns (B, S + C, H, W).
    """
    return torch.cat([skip, match_size(upsampled, skip)], dim=1)


def match_size(features: Tensor, reference: Tensor) -> Tensor:
    """Bring (B, C, h, w) to the height and width of `reference` (B, any, H, W) at the bottom and right edges.

    What is missing is filled with zeros (report A), what is too much is cropped (report B). Halving and then
    doubling an odd size is off by one pixel, always at that end, so this keeps both maps aligned.
    """
    missing_rows = reference.shape[-2] - features.shape[-2]
    missing_columns = reference.shape[-1] - features.shape[-1]
    if missing_rows == 0 and missing_columns == 0:
        return features  # padding by nothing would copy the map
    return F.pad(features, (0, missing_columns, 0, missing_rows))


def check_channels(width: int, out_channels: int) -> None:
    """Raise ValueError, naming what is allowed, for channel counts that no network can be built from."""
    problems = []
    if width < 2 or width % 2:
        problems.append(f"model.width is {width}; it must be an even number of at least 2 (the reports use 64)")
    if out_channels < 1:
        problems.append(f"model.out_channels is {out_channels}; it must be at least 1 (the reports use 1 and 2)")
    if problems:
        raise ValueError("\n".join(problems))


def check_images(images: Tensor, minimum_size: int) -> None:
    """Raise ValueError when the images (B, 3, H, W) have fewer than `minimum_size` rows or columns."""
    assert images.ndim == 4 and images.shape[1] == 3, f"expected images (B, 3, H, W), got {tuple(images.shape)}"
    height, width = images.shape[-2:]
    if min(height, width) < minimum_size:
        raise ValueError(
            f"images of {height} x {width} pixels (height x width) are too small for this network, "
            f"which needs at least {minimum_size} x {minimum_size}; "
            "resize them to that or more (data.image_size in a run)"
        )
