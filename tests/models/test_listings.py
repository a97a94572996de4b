"""Each network against the description of its report, typed again in plain torch: same weights, same outputs."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from src.models.resnet34_unet import ResNet34UNet
from src.models.resnet34_unet_cbam import ResNet34UNetCBAM
from src.models.resnet34_unet_plain import ResNet34UNetPlain
from src.models.unet import UNet

WIDTH = 8  # stands for the 64 of the reports


def double_conv(before, after, bias=False, norm=True):
    def half(channels):
        conv = nn.Conv2d(channels, after, 3, padding=1, bias=bias)
        return [conv, *([nn.BatchNorm2d(after)] if norm else []), nn.ReLU()]

    return nn.Sequential(*half(before), *half(after))


class Up(nn.Module):
    """Report A: transposed convolution, padded to the skip's size, [skip, upsampled], double convolution."""

    def __init__(self, before, skip, after, **options):
        super().__init__()
        self.up = nn.ConvTranspose2d(before, after, 2, stride=2)
        self.conv = double_conv(skip + after, after, **options)

    def forward(self, features, skip):
        features = self.up(features)
        rows, columns = (skip.shape[axis] - features.shape[axis] for axis in (2, 3))
        padding = [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2]
        return self.conv(torch.cat([skip, F.pad(features, padding)], dim=1))


class ListedUNet(nn.Module):
    """Reports A (BatchNorm), B (BatchNorm and bias) and D (bias alone, two channels)."""

    def __init__(self, out_channels=1, **options):
        super().__init__()
        sizes = [WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH, 16 * WIDTH]
        self.down = nn.ModuleList(double_conv(*pair, **options) for pair in zip([3, *sizes], sizes, strict=False))
        self.up = nn.ModuleList(Up(2 * size, size, size, **options) for size in reversed(sizes[:-1]))
        self.out = nn.Conv2d(WIDTH, out_channels, 1)

    def forward(self, images):
        x1 = self.down[0](images)
        x2 = self.down[1](F.max_pool2d(x1, 2))
        x3 = self.down[2](F.max_pool2d(x2, 2))
        x4 = self.down[3](F.max_pool2d(x3, 2))
        x = self.down[4](F.max_pool2d(x4, 2))
        for up, skip in zip(self.up, (x4, x3, x2, x1), strict=True):
            x = up(x, skip)
        return self.out(x)


class Block(nn.Module):
    """ResNet's basic block (He et al. 2016)."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
        self.conv2, self.bn2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        self.shortcut = nn.Sequential()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class Encoder(nn.Module):
    """ResNet-34 up to its last stage; the maps from the stem, before its max-pool, to stage 4."""

    def __init__(self, stem):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, stem, 7, 2, 3, bias=False), nn.BatchNorm2d(stem), nn.ReLU())
        sizes = [stem, WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH]
        self.stages = nn.ModuleList(
            nn.Sequential(Block(sizes[k], sizes[k + 1], 1 if k == 0 else 2), *self.rest(sizes[k + 1], blocks))
            for k, blocks in enumerate((3, 4, 6, 3))
        )

    @staticmethod
    def rest(size, blocks):
        return [Block(size, size, 1) for _ in range(blocks - 1)]

    def forward(self, images):
        maps = [self.stem(images)]
        x = F.max_pool2d(maps[0], 3, 2, 1)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class ListedA(nn.Module):
    """Report A: half as many channels in the stem, a bridge to 1/64, five up-blocks and one more step up."""

    def __init__(self):
        super().__init__()
        self.encoder = Encoder(WIDTH // 2)
        bridge = nn.Conv2d(8 * WIDTH, 16 * WIDTH, 3, padding=1)
        self.bridge = nn.Sequential(bridge, nn.BatchNorm2d(16 * WIDTH), nn.ReLU(), nn.MaxPool2d(2))
        self.up = nn.ModuleList(Up(2 * size, size, size) for size in (64, 32, 16, 8, 4))
        self.final_up = nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.out = nn.Conv2d(4, 1, 1)

    def forward(self, images):
        maps = self.encoder(images)
        x = self.bridge(maps[-1])
        for up, skip in zip(self.up, reversed(maps), strict=True):
            x = up(x, skip)
        return self.out(self.final_up(x))


class ListedB(nn.Module):
    """Report B: the standard encoder, skips from stages 3, 2, 1 and the stem, logits brought to full size."""

    def __init__(self):
        super().__init__()
        self.encoder = Encoder(WIDTH)
        sizes = ((64, 32, 32), (32, 16, 16), (16, 8, 8), (8, 8, 8))
        self.up = nn.ModuleList(Up(*size, bias=True) for size in sizes)
        self.out = nn.Conv2d(WIDTH, 1, 1)

    def forward(self, images):
        *skips, x = self.encoder(images)
        for up, skip in zip(self.up, reversed(skips), strict=True):
            x = up(x, skip)
        return F.interpolate(self.out(x), images.shape[-2:], mode="bilinear")


class ListedCBAM(nn.Module):
    """Woo et al. (2018): channels from average and maximum pools, then positions."""

    def __init__(self, channels):
        super().__init__()
        hidden = max(1, channels // 16)
        self.first = nn.Conv2d(channels, hidden, 1, bias=False)
        self.second = nn.Conv2d(hidden, channels, 1, bias=False)
        self.spatial = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x):
        pooled = (F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1))
        average, maximum = (self.second(F.relu(self.first(one))) for one in pooled)
        x = x * torch.sigmoid(average + maximum)
        return x * torch.sigmoid(self.spatial(torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], dim=1)))


class ListedD(nn.Module):
    """Report D: [projection, deepest] into the center, then [upsampled, skip], 32 channels (here 4) all the way up."""

    def __init__(self):
        super().__init__()
        self.encoder = Encoder(WIDTH)
        self.conv2 = nn.Sequential(nn.Conv2d(64, 32, 1, bias=False), nn.BatchNorm2d(32))
        self.center = nn.Sequential(double_conv(96, 4), ListedCBAM(4))
        self.steps = nn.ModuleList(
            nn.ModuleList(
                [nn.ConvTranspose2d(4, 4, 2, stride=2), nn.Sequential(double_conv(4 + skip, 4), ListedCBAM(4))]
            )
            for skip in (32, 16, 8, 0, 0)
        )
        self.out = nn.Conv2d(4, 2, 1)

    def forward(self, images):
        _, x3, x4, x5, x6 = self.encoder(images)
        x = self.center(torch.cat([self.conv2(x6), x6], dim=1))
        for (up, block), skips in zip(self.steps, ([x5], [x4], [x3], [], []), strict=True):
            x = block(torch.cat([up(x), *skips], dim=1))
        return self.out(x)


PAIRS = {
    "A, UNet": (lambda: UNet(WIDTH), ListedUNet),
    "B, UNet": (lambda: UNet(WIDTH, conv_bias=True), lambda: ListedUNet(bias=True)),
    "D, UNet": (
        lambda: UNet(WIDTH, out_channels=2, batch_norm=False, conv_bias=True),
        lambda: ListedUNet(out_channels=2, bias=True, norm=False),
    ),
    "A, ResNet34-UNet": (lambda: ResNet34UNet(WIDTH), ListedA),
    "B, ResNet34-UNet": (lambda: ResNet34UNetPlain(WIDTH), ListedB),
    "D, ResNet34-UNet": (lambda: ResNet34UNetCBAM(WIDTH), ListedD),
}


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", PAIRS)
def test_a_network_computes_what_its_report_describes(name, training):
    torch.manual_seed(0)
    ours, listed = (make() for make in PAIRS[name])
    listed.load_state_dict(dict(zip(listed.state_dict(), ours.state_dict().values(), strict=True)))
    for network in (ours, listed):
        network.train(training)
    images = torch.randn(2, 3, 64, 128)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), listed(images), atol=1e-6, rtol=1e-5)


def test_odd_sizes_are_padded_as_report_a_lists_it():
    torch.manual_seed(0)
    ours, listed = UNet(WIDTH).eval(), ListedUNet().eval()
    listed.load_state_dict(dict(zip(listed.state_dict(), ours.state_dict().values(), strict=True)))
    images = torch.randn(1, 3, 97, 131)
    with torch.no_grad():
        assert torch.equal(ours(images), listed(images))
