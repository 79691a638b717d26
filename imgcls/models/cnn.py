"""The small residual network of `configs/cnn.toml`, sized for two CPU cores."""

from torch import Tensor, nn


def conv_block(fan_in: int, fan_out: int, *, pool: bool) -> nn.Sequential:
    """Convolution 3x3, optional halving, batch norm, ReLU."""
    layers: list[nn.Module] = [nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=False)]
    if pool:
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.BatchNorm2d(fan_out), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two convolution blocks whose result is added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(conv_block(width, width, pool=False), conv_block(width, width, pool=False))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Same shape out as in."""
        sum_BCHW: Tensor = x_BCHW + self.blocks(x_BCHW)
        return sum_BCHW


class CNN(nn.Module):
    """A residual network of eight convolutions for small pictures.

    Args:
        num_classes: K, outputs of the last layer.
        widths: channels of the four stages.
    Shapes:
        images_BCHW float (batch, 3, H, W), H and W at least 8, to logits_BK float (batch, K).
    """

    def __init__(self, num_classes: int, *, widths: tuple[int, ...] = (16, 32, 64, 128)) -> None:
        super().__init__()
        stem, first, second, third = widths
        self.features = nn.Sequential(
            conv_block(3, stem, pool=False),
            conv_block(stem, first, pool=True),
            Residual(first),
            conv_block(first, second, pool=True),
            conv_block(second, third, pool=True),
            Residual(third),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(third, num_classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits, one row an image."""
        logits_BK: Tensor = self.classifier(self.features(images_BCHW)) * 0.125
        return logits_BK
