"""The UNet of reports A, B and D: five levels of double convolutions, max-pools down, up-blocks back up."""

from torch import Tensor, nn

from src.models.blocks import OutChannels, UpBlock, Width, check_images, mixing_block


class UNet(nn.Module):
    """UNet with `width`, 2, 4, 8 and 16 x `width` channels from the full size down to 1/16.

    Report A has BatchNorm and convolutions without bias (the defaults), report B BatchNorm and bias, report D
    bias and no BatchNorm. Transposed convolutions and the last 1x1 convolution always have a bias.

    `residual` adds to every double convolution its input, projected; it needs BatchNorm and convolutions without bias.
    `attention` puts CBAM behind each up-block.
    Raises ValueError for `residual` without what it needs.
    """

    # BatchNorm trains on more than one value a channel, of a single image too: 2 x 2 at 1/16.
    minimum_size = 32

    def __init__(
        self,
        width: Width = 64,
        out_channels: OutChannels = 1,
        batch_norm: bool = True,
        conv_bias: bool = False,
        residual: bool = False,
        attention: bool = False,
    ) -> None:
        super().__init__()
        if residual and (conv_bias or not batch_norm):
            raise ValueError("residual needs batch_norm=true and conv_bias=false: its blocks have BatchNorm, no bias")
        channels = [width * 2**level for level in range(5)]  # 64, 128, 256, 512, 1024
        self.pool = nn.MaxPool2d(kernel_size=2)
        self.encoder = nn.ModuleList(
            mixing_block(before, after, conv_bias, batch_norm, residual)
            for before, after in zip([3, *channels[:-1]], channels, strict=True)
        )
        self.decoder = nn.ModuleList(
            UpBlock(2 * after, after, after, conv_bias, batch_norm, residual, attention)
            for after in reversed(channels[:-1])
        )
        self.head = nn.Conv2d(width, out_channels, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        """Float images (B, 3, H, W), normalized -> logits (B, out_channels, H, W).

        Raises ValueError when H or W is below `minimum_size`.
        """
        check_images(images, self.minimum_size)
        features = self.encoder[0](images)  # (B, 64, H, W)
        skips = []
        for double_conv in self.encoder[1:]:
            skips.append(features)
            features = double_conv(self.pool(features))  # in the end (B, 1024, H/16, W/16), rounded down
        for up_block, skip in zip(self.decoder, reversed(skips), strict=True):
            features = up_block(features, skip)  # in the end (B, 64, H, W)
        return self.head(features)
