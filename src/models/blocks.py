"""The parts that several networks share: double convolutions, up-blocks with a skip, CBAM, the ResNet-34 encoder."""

from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

REDUCTION = 16  # report D
BLOCKS_PER_STAGE = (3, 4, 6, 3)
Width = Annotated[int, Field(ge=2, multiple_of=2)]
OutChannels = Annotated[int, Field(ge=1)]


class ChannelAttention(nn.Module):
    """One weight in (0, 1) a channel, from its average and its maximum: (B, C, H, W) -> (B, C, 1, 1).

    The two 1x1 convolutions (no bias, C / 16 channels between them, at least one) are shared by both.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // REDUCTION)
        self.shared = nn.Sequential(
            nn.Conv2d(channels, hidden, kernel_size=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, kernel_size=1, bias=False),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> weights (B, C, 1, 1)."""
        # mean and amax, not adaptive pools: the backward of those is not deterministic on CUDA
        average = features.mean(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
        maximum = features.amax(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
        return torch.sigmoid(self.shared(average) + self.shared(maximum))


class SpatialAttention(nn.Module):
    """One weight in (0, 1) a position, from mean and maximum over channels: (B, C, H, W) -> (B, 1, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size=7, padding=3, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> weights (B, 1, H, W)."""
        summary = torch.cat([features.mean(dim=1, keepdim=True), features.amax(dim=1, keepdim=True)], dim=1)
        return torch.sigmoid(self.conv(summary))  # from (B, 2, H, W)


class CBAM(nn.Module):
    """Weighs channels, then positions; the shape (B, C, H, W) stays."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel = ChannelAttention(channels)
        self.spatial = SpatialAttention()

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        features = features * self.channel(features)
        return features * self.spatial(features)


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


def mixing_block(in_channels: int, out_channels: int, conv_bias: bool, batch_norm: bool, residual: bool) -> nn.Module:
    """Two 3x3 convolutions, size kept: a DoubleConv or, if `residual`, a BasicBlock of stride 1."""
    if not residual:
        return DoubleConv(in_channels, out_channels, conv_bias, batch_norm)
    assert batch_norm and not conv_bias, "a BasicBlock has BatchNorm and no bias"
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
        residual: bool = False,
        attention: bool = False,
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


class EncoderMaps(NamedTuple):
    """Feature maps from the largest to the deepest; heights and widths are rounded up."""

    stem: Tensor  # (B, stem_channels, H/2, W/2), before the max-pool
    stage1: Tensor  # (B, width, H/4, W/4)
    stage2: Tensor  # (B, 2 width, H/8, W/8)
    stage3: Tensor  # (B, 4 width, H/16, W/16)
    stage4: Tensor  # (B, 8 width, H/32, W/32)


class ResNet34Encoder(nn.Module):
    """Stem of `stem_channels`, then stages of 3, 4, 6, 3 basic blocks with 1, 2, 4, 8 x `width` channels.

    `stem_channels` = `width` = 64 is the standard layout (reports B and D); report A's stem has 32.
    """

    def __init__(self, width: int, stem_channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, stem_channels, kernel_size=7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(stem_channels),
            nn.ReLU(inplace=True),
        )
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.stages = nn.ModuleList()
        channels = stem_channels
        for level, blocks in enumerate(BLOCKS_PER_STAGE):
            self.stages.append(_stage(channels, width * 2**level, blocks, stride=1 if level == 0 else 2))
            channels = width * 2**level

    def forward(self, images: Tensor) -> EncoderMaps:
        """Images (B, 3, H, W) -> the maps of all five levels."""
        stem = self.stem(images)  # (B, 64, H/2, W/2)
        features = self.pool(stem)  # (B, 64, H/4, W/4)
        maps = []
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        return EncoderMaps(stem, *maps)


def _stage(in_channels: int, out_channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, out_channels, stride)
    return nn.Sequential(first, *(BasicBlock(out_channels, out_channels, stride=1) for _ in range(blocks - 1)))
