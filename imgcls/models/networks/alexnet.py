"""AlexNet, the model that `predict` uses unless told otherwise.

torchvision has the same network under the same parameter names, and its catalogue is where the weights come from; this
copy exists because importing torchvision takes about as long as everything else that `predict` does to one image.
A test holds both against torchvision's.
"""

from torch import Tensor, nn


class AlexNet(nn.Module):
    """Five convolutions and three linear layers.

    Args:
        num_classes: K, outputs of the last layer.
        dropout: fraction of activations dropped before the first two linear layers while training.
    Shapes:
        images_BCHW float (batch, 3, H, W), H and W at least 63, to logits_BK float (batch, K).
    Source: Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks", as in torchvision.
    """

    def __init__(self, num_classes: int = 1000, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes),
        )

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits, one row an image."""
        logits_BK: Tensor = self.classifier(self.avgpool(self.features(images_BCHW)).flatten(1))
        return logits_BK
