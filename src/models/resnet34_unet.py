"""The ResNet34-UNet of report A: ResNet-34 encoder with a narrow stem, bridge at 1/64, the UNet's decoder."""

from torch import Tensor, nn

from src.models.blocks import OutChannels, ResNet34Encoder, UpBlock, Width, check_images, match_size


class ResNet34UNet(nn.Module):
    """ResNet34-UNet of report A, with `width` channels in the first stage and `width` / 2 in the stem.

    Encoder convolutions and the decoder's double convolutions have no bias, the bridge's convolution has one.

    `residual` adds to each of the decoder's double convolutions its input, projected, as the encoder's blocks do.
    `attention` puts CBAM behind each up-block.
    """

    # The bridge pools the 1/32 map once more: it must be at least 2 x 2 (sizes are rounded up on the way).
    minimum_size = 33

    def __init__(
        self, width: Width = 64, out_channels: OutChannels = 1, residual: bool = False, attention: bool = False
    ) -> None:
        super().__init__()
        stem_channels = width // 2
        self.encoder = ResNet34Encoder(width, stem_channels)
        self.bridge = nn.Sequential(
            nn.Conv2d(8 * width, 16 * width, kernel_size=3, padding=1),
            nn.BatchNorm2d(16 * width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=2),
        )
        skip_channels = [8 * width, 4 * width, 2 * width, width, stem_channels]  # 512, 256, 128, 64, 32
        self.decoder = nn.ModuleList(
            UpBlock(2 * channels, channels, channels, conv_bias=False, residual=residual, attention=attention)
            for channels in skip_channels
        )
        self.to_full_size = nn.ConvTranspose2d(stem_channels, stem_channels, kernel_size=2, stride=2)
        self.head = nn.Conv2d(stem_channels, out_channels, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        """Float images (B, 3, H, W), normalized -> logits (B, out_channels, H, W).

        Raises ValueError when H or W is below `minimum_size`.
        """
        check_images(images, self.minimum_size)
        maps = self.encoder(images)  # (B, 32, H/2, W/2) to (B, 512, H/32, W/32)
        features = self.bridge(maps.stage4)  # (B, 1024, H/64, W/64)
        for up_block, skip in zip(self.decoder, reversed(maps), strict=True):
            features = up_block(features, skip)  # in the end (B, 32, H/2, W/2)
        features = match_size(self.to_full_size(features), images)  # (B, 32, H, W)
        return self.head(features)
