"""The ResNet34-UNet of report B: the standard ResNet-34 encoder, four up-blocks and a bilinear last step."""

import torch.nn.functional as F
from torch import Tensor, nn

from src.models.blocks import OutChannels, ResNet34Encoder, UpBlock, Width, check_images


class ResNet34UNetPlain(nn.Module):
    """ResNet34-UNet of report B, with `width` channels in the stem and in the first stage.

    The decoder's convolutions have a bias, the encoder's none. Skips come from stages 3, 2, 1 and the stem
    before its max-pool (our reading: only then the sizes fit).
    """

    # BatchNorm trains on more than one value a channel, of a single image too: 2 x 2 at 1/32, rounded up.
    minimum_size = 33

    def __init__(self, width: Width = 64, out_channels: OutChannels = 1) -> None:
        super().__init__()
        self.encoder = ResNet34Encoder(width, stem_channels=width)
        self.decoder = nn.ModuleList(
            [
                UpBlock(8 * width, 4 * width, 4 * width, conv_bias=True),  # 512, skip 256 -> 256
                UpBlock(4 * width, 2 * width, 2 * width, conv_bias=True),  # 256, skip 128 -> 128
                UpBlock(2 * width, width, width, conv_bias=True),  # 128, skip 64 -> 64
                UpBlock(width, width, width, conv_bias=True),  # 64, skip 64 -> 64
            ]
        )
        self.head = nn.Conv2d(width, out_channels, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        """Float images (B, 3, H, W), normalized -> logits (B, out_channels, H, W).

        Raises ValueError when H or W is below `minimum_size`.
        """
        check_images(images, self.minimum_size)
        maps = self.encoder(images)  # (B, 64, H/2, W/2) to (B, 512, H/32, W/32)
        features = maps.stage4
        for up_block, skip in zip(self.decoder, reversed(maps[:-1]), strict=True):
            features = up_block(features, skip)  # in the end (B, 64, H/2, W/2)
        logits = self.head(features)  # (B, out_channels, H/2, W/2)
        # torch swaps in a deterministic backward by itself where deterministic algorithms are asked for
        return F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)
