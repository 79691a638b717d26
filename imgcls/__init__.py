"""imgcls: classify images from Python or from the command line.

from imgcls import load_classifier

record = load_classifier("cifar10-cnn").predict("photo.jpg")
print(record.label, record.probability)
"""

from typing import TYPE_CHECKING, Any

from imgcls._version import __version__

if TYPE_CHECKING:
    from imgcls.errors import ImageError, ImgclsError
    from imgcls.prediction.classifier import Classifier, load_classifier
    from imgcls.recipes.loading import load_recipe
    from imgcls.results.records import ImageRecord, Prediction
    from imgcls.training.run import train
    from imgcls.tuning.study import tune

# Where each public name lives; imported when it is first used, so that `import imgcls` costs nothing.
_HOMES = {
    "Classifier": "imgcls.prediction.classifier",
    "ImageError": "imgcls.errors",
    "ImageRecord": "imgcls.results.records",
    "ImgclsError": "imgcls.errors",
    "Prediction": "imgcls.results.records",
    "load_classifier": "imgcls.prediction.classifier",
    "load_recipe": "imgcls.recipes.loading",
    "train": "imgcls.training.run",
    "tune": "imgcls.tuning.study",
}

__all__ = [
    "Classifier",
    "ImageError",
    "ImageRecord",
    "ImgclsError",
    "Prediction",
    "__version__",
    "load_classifier",
    "load_recipe",
    "train",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'imgcls' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
