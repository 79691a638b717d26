"""The names that `--model` knows, as plain values: nothing here imports torch."""

from dataclasses import dataclass

from imgcls.images.transform import Transform

DEFAULT_MODEL = "alexnet"
# Shipped inside the package.
BUNDLED = ("cifar10-cnn",)


@dataclass(frozen=True, slots=True)
class PretrainedEntry:
    """What torchvision's catalogue says of one network's ImageNet weights.

    Attributes:
        name: as in `torchvision.models.get_model`.
        url: where the weights are published; its last part is the cached file's name and holds the hash's first digits.
        transform: the preprocessing that they were measured with.
        num_params: of the whole network.
        size_mib: of the weights file, in MiB.
        top1, top5: published accuracy on ImageNet's validation set, as fractions.
        weights_name: which of the network's weights these are, as torchvision names them.
    """

    name: str
    url: str
    transform: Transform
    num_params: int
    size_mib: float
    top1: float
    top5: float
    weights_name: str = ""


# The default model's entry, known without the second that importing torchvision takes; a test compares the two.
ALEXNET = PretrainedEntry(
    name="alexnet",
    url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    transform=Transform(resize_px=256, crop_px=224),
    num_params=61_100_840,
    size_mib=233.087,
    top1=0.56522,
    top5=0.79066,
    weights_name="IMAGENET1K_V1",
)
