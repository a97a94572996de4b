"""The parts that several networks share: double convolutions, up-blocks with a skip, checks of arguments."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.models.attention import CBAM


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


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm, added to the identity, projected where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.identity: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.identity = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H/stride, W/stride), rounded up."""
        return F.relu(self.residual(features) + self.identity(features), inplace=True)


def mixing_block(
    in_channels: int, out_channels: int, conv_bias: bool, batch_norm: bool, residual: bool | None
) -> nn.Module:
    """Two 3x3 convolutions, size kept: a DoubleConv or, if `residual`, a BasicBlock of stride 1."""
    if not residual:
        return DoubleConv(in_channels, out_channels, conv_bias, batch_norm)
    assert batch_norm and not conv_bias, "check_arguments refuses what a BasicBlock cannot be"
    return BasicBlock(in_channels, out_channels, stride=1)


class UpBlock(nn.Module):
    """Doubles the size with a transposed convolution, joins the skip and mixes both with a DoubleConv.

    So in reports A and B, and in D's UNet. The transposed convolution already goes down to `out_channels`; it
    always has a bias. `residual` mixes with a BasicBlock instead, `attention` puts CBAM behind what mixes.
    """

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        out_channels: int,
        conv_bias: bool,
        batch_norm: bool = True,
        residual: bool | None = None,
        attention: bool | None = None,
    ) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2)
        self.mix = mixing_block(skip_channels + out_channels, out_channels, conv_bias, batch_norm, residual)
        # beside the mix, not in it: so its weights keep their names, with attention and without
        self.attend = CBAM(out_channels) if attention else nn.Identity()

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """(B, in_channels, h, w) and (B, skip_channels, H, W), H about 2h -> (B, out_channels, H, W)."""
        return self.attend(self.mix(join_skip(skip, self.upsample(features))))


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


def mean_over_mirrored(logits_of: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Test-time augmentation: the mean of the images' logits and of the mirrored images' logits, mirrored back.

    `images` (B, C, H, W) are mirrored left to right; `logits_of` keeps their height and width. One after the other,
    so it takes twice the time but no more memory. Returns (B, out_channels, H, W), of a mirrored image the mirrored
    logits.
    """
    return (logits_of(images) + logits_of(images.flip(-1)).flip(-1)) / 2


def check_arguments(
    width: int,
    out_channels: int,
    batch_norm: bool = True,
    conv_bias: bool = False,
    residual: bool | None = None,
) -> None:
    """Raise ValueError, naming what is allowed, for arguments that no network can be built from, all at once."""
    problems = []
    if width < 2 or width % 2:
        problems.append(f"model.width is {width}; it must be an even number of at least 2 (the reports use 64)")
    if out_channels < 1:
        problems.append(f"model.out_channels is {out_channels}; it must be at least 1 (the reports use 1 and 2)")
    if residual and not batch_norm:
        problems.append(
            "model.batch_norm is False; it must be true with model.residual=true, whose blocks have BatchNorm"
        )
    if residual and conv_bias:
        problems.append("model.conv_bias is True; it must be false with model.residual=true, whose blocks have no bias")
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
