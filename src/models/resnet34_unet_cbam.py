"""The ResNet34-UNet of report D: standard ResNet-34 encoder, decoder of few channels with CBAM attention."""

import torch
from torch import Tensor, nn

from src.models.blocks import CBAM, DoubleConv, OutChannels, ResNet34Encoder, Width, check_images, match_size


class ResNet34UNetCBAM(nn.Module):
    """ResNet34-UNet of report D: `width` channels in the encoder's first stage, `width` / 2 in the decoder.

    The center block sees the deepest map and a 1x1 projection of it; skips come from 1/16, 1/8 and 1/4 only.
    `cbam` adds attention behind each of the six double convolutions. Concatenations are in the report's order: what is
    newly computed comes before what the encoder gives, the other way round than in `join_skip`.
    """

    # BatchNorm trains on more than one value a channel, of a single image too: 2 x 2 at 1/32, rounded up.
    minimum_size = 33
    # Checkpoints of format 1 are from before the concatenations had the report's order.
    oldest_checkpoint = 2

    def __init__(self, width: Width = 64, out_channels: OutChannels = 2, cbam: bool = True) -> None:
        super().__init__()
        channels = width // 2
        self.encoder = ResNet34Encoder(width, stem_channels=width)
        self.projection = nn.Sequential(
            nn.Conv2d(8 * width, 4 * width, kernel_size=1, bias=False), nn.BatchNorm2d(4 * width)
        )
        self.center = _attended_double_conv(8 * width + 4 * width, channels, cbam)  # 768 -> 32
        skip_channels = (4 * width, 2 * width, width, 0, 0)  # 256, 128, 64, then none
        self.decoder = nn.ModuleList(AttendedUpBlock(channels, skip, cbam) for skip in skip_channels)
        self.head = nn.Conv2d(channels, out_channels, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        """Float images (B, 3, H, W), normalized -> logits (B, out_channels, H, W).

        Raises ValueError when H or W is below `minimum_size`.
        """
        check_images(images, self.minimum_size)
        maps = self.encoder(images)  # (B, 64, H/2, W/2) to (B, 512, H/32, W/32)
        deepest = torch.cat([self.projection(maps.stage4), maps.stage4], dim=1)  # (B, 768, H/32, W/32)
        features = self.center(deepest)  # (B, 32, H/32, W/32)
        larger_maps = (maps.stage3, maps.stage2, maps.stage1, maps.stem, images)
        for up_block, larger in zip(self.decoder, larger_maps, strict=True):
            features = up_block(features, larger)  # in the end (B, 32, H, W)
        return self.head(features)


class AttendedUpBlock(nn.Module):
    """Doubles the size, joins a skip of `skip_channels` (0: none), mixes, and attends if `cbam`."""

    def __init__(self, channels: int, skip_channels: int, cbam: bool) -> None:
        super().__init__()
        self.joins_skip = skip_channels > 0
        self.upsample = nn.ConvTranspose2d(channels, channels, kernel_size=2, stride=2)
        self.mix = _attended_double_conv(skip_channels + channels, channels, cbam)

    def forward(self, features: Tensor, larger: Tensor) -> Tensor:
        """(B, channels, h, w) and the encoder's map at (H, W), H about 2h -> (B, channels, H, W).

        Without a skip only the size of `larger` counts.
        """
        upsampled = match_size(self.upsample(features), larger)  # (B, channels, H, W)
        return self.mix(torch.cat([upsampled, larger], dim=1) if self.joins_skip else upsampled)


def _attended_double_conv(in_channels: int, out_channels: int, cbam: bool) -> nn.Sequential:
    attention = CBAM(out_channels) if cbam else nn.Identity()
    return nn.Sequential(DoubleConv(in_channels, out_channels, conv_bias=False), attention)
