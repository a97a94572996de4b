"""The networks of the reports, written from torch.nn parts and trained from scratch.

Every network takes float32 images (B, 3, H, W) and returns logits (B, out_channels, H, W) of the same size.
`width` is the number of channels of the first level; all others scale with it. Weights start from torch's
defaults (Kaiming uniform with a = sqrt(5) for convolutions, ones and zeros for BatchNorm), because no report
states an initialization.
"""
