"""CBAM (Woo et al. 2018): attention over channels, then over positions, as in report D."""

import torch
from torch import Tensor, nn

REDUCTION = 16  # report D


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
