"""The multilayer perceptron of the classic tutorials: flatten, linear layers, ReLU between them."""

from itertools import pairwise

from torch import Tensor, nn

INPUT_CHANNELS = 3


class MLP(nn.Module):
    """Linear layers with ReLU between them, on the flattened image.

    Args:
        num_classes: K, outputs of the last layer.
        image_px: side of the square input.
        hidden: width of each hidden layer.
    Shapes:
        images_BCHW float (batch, 3, image_px, image_px) to logits_BK float (batch, K).
    """

    def __init__(self, num_classes: int, *, image_px: int = 32, hidden: tuple[int, ...] = (512, 512)) -> None:
        super().__init__()
        widths = (INPUT_CHANNELS * image_px * image_px, *hidden)
        layers: list[nn.Module] = [nn.Flatten()]
        for fan_in, fan_out in pairwise(widths):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], num_classes))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits, one row an image."""
        logits_BK: Tensor = self.layers(images_BCHW)
        return logits_BK
