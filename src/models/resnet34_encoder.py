"""The ResNet-34 encoder (He et al. 2016): no classifier, but the feature maps of all levels."""

from typing import NamedTuple

from torch import Tensor, nn

from src.models.blocks import BasicBlock

BLOCKS_PER_STAGE = (3, 4, 6, 3)


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
