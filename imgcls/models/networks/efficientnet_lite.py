"""EfficientNet-Lite0, small and trained on ImageNet: the network that works without a download.

Shapes: B batch, C channels (3), H height, W width, K classes.
"""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's own name for it

# Of each stage: blocks, kernel size, stride of the first block, expansion, output channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM_WIDTH, FEATURES_WIDTH = 32, 1280
# TensorFlow's value for this family, a hundred times torch's.
NORM_EPSILON = 1e-3


class ConvNorm(nn.Module):
    """Convolution with TensorFlow's "same" padding, batch norm, and ReLU6 if asked.

    Args:
        fan_in: channels that come in.
        fan_out: channels that go out.
        kernel: side of the filter.
        stride: 1 or 2.
        groups: as many as channels for a depthwise convolution.
        active: whether ReLU6 follows.
    """

    def __init__(
        self, fan_in: int, fan_out: int, kernel: int, *, stride: int = 1, groups: int = 1, active: bool = True
    ) -> None:
        super().__init__()
        # With stride 1 the padding is the same on both sides, and the convolution does it by itself.
        padding = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(fan_in, fan_out, kernel, stride=stride, padding=padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(fan_out, eps=NORM_EPSILON)
        self.active = active

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Height and width divided by the stride, rounded up."""
        if self.conv.stride[0] > 1:
            height, width = x_BCHW.shape[2:]
            x_BCHW = F.pad(x_BCHW, (*self._same_padding(width), *self._same_padding(height)))
        x_BCHW = self.norm(self.conv(x_BCHW))
        return F.relu6(x_BCHW) if self.active else x_BCHW

    def _same_padding(self, size: int) -> tuple[int, int]:
        """Before and after; the odd pixel goes behind, as TensorFlow puts it."""
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        needed = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        return needed // 2, needed - needed // 2


class Block(nn.Module):
    """Inverted residual: widen, filter each channel by itself, narrow again; no squeeze-and-excitation.

    Args:
        fan_in: channels that come in.
        fan_out: channels that go out.
        kernel: side of the depthwise filter.
        stride: of the depthwise filter.
        expansion: how many times wider it is inside; 1 leaves out the widening.
    """

    def __init__(self, fan_in: int, fan_out: int, kernel: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        width = fan_in * expansion
        self.expand = ConvNorm(fan_in, width, 1) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(width, width, kernel, stride=stride, groups=width)
        self.project = ConvNorm(width, fan_out, 1, active=False)
        self.has_shortcut = stride == 1 and fan_in == fan_out

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """The shortcut is added where the shapes allow it."""
        y_BCHW: Tensor = self.project(self.depthwise(self.expand(x_BCHW)))
        return x_BCHW + y_BCHW if self.has_shortcut else y_BCHW


class EfficientNetLite0(nn.Module):
    """Stem, sixteen inverted residuals, features, mean over the image, classifier.

    Args:
        num_classes: K, outputs of the last layer.
        dropout: fraction of features dropped before the classifier while training.
    Shapes:
        images_BCHW float (batch, 3, H, W), H and W of any size, to logits_BK float (batch, K).
    Source: github.com/tensorflow/tpu, models/official/efficientnet/lite: EfficientNet-B0 (Tan and Le 2019) without
        squeeze-and-excitation and with ReLU6 for swish. Its stochastic depth in training is left out.
    """

    def __init__(self, num_classes: int = 1000, *, dropout: float = 0.2) -> None:
        super().__init__()
        self.stem = ConvNorm(3, STEM_WIDTH, 3, stride=2)
        blocks: list[nn.Module] = []
        fan_in = STEM_WIDTH
        for depth, kernel, first_stride, expansion, fan_out in STAGES:
            for index in range(depth):
                stride = first_stride if index == 0 else 1
                blocks.append(Block(fan_in, fan_out, kernel, stride=stride, expansion=expansion))
                fan_in = fan_out
        self.blocks = nn.Sequential(*blocks)
        self.features = ConvNorm(fan_in, FEATURES_WIDTH, 1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(FEATURES_WIDTH, num_classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits, one row an image."""
        x_BCHW = self.features(self.blocks(self.stem(images_BCHW)))
        logits_BK: Tensor = self.classifier(self.dropout(x_BCHW.mean((2, 3))))
        return logits_BK
