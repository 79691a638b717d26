"""imgcls: classify images from Python or from the command line.

from imgcls import load_classifier

record = load_classifier("cifar10-cnn").predict("photo.jpg")
print(record.label, record.probability)
"""

from typing import TYPE_CHECKING, Any

from imgcls._version import __version__

if TYPE_CHECKING:
    from imgcls.errors import ImageError, ImgclsError
    from imgcls.evaluation.report import EvalReport
    from imgcls.evaluation.run import evaluate
    from imgcls.export.run import export
    from imgcls.inference.classifier import Classifier, load_classifier
    from imgcls.inference.predictor import Predictor
    from imgcls.inference.settings import PredictSettings
    from imgcls.outputs.record import ImageRecord, Prediction
    from imgcls.recipes.loading import load_recipe
    from imgcls.serving.client.client import Client
    from imgcls.training.run import train
    from imgcls.tuning.study import tune

# Where each public name lives; imported when it is first used, so that `import imgcls` costs nothing.
_HOMES = {
    "Client": "imgcls.serving.client.client",
    "Classifier": "imgcls.inference.classifier",
    "EvalReport": "imgcls.evaluation.report",
    "ImageError": "imgcls.errors",
    "ImageRecord": "imgcls.outputs.record",
    "ImgclsError": "imgcls.errors",
    "PredictSettings": "imgcls.inference.settings",
    "Prediction": "imgcls.outputs.record",
    "Predictor": "imgcls.inference.predictor",
    "evaluate": "imgcls.evaluation.run",
    "export": "imgcls.export.run",
    "load_classifier": "imgcls.inference.classifier",
    "load_recipe": "imgcls.recipes.loading",
    "train": "imgcls.training.run",
    "tune": "imgcls.tuning.study",
}

__all__ = [
    "Classifier",
    "Client",
    "EvalReport",
    "ImageError",
    "ImageRecord",
    "ImgclsError",
    "PredictSettings",
    "Prediction",
    "Predictor",
    "__version__",
    "evaluate",
    "export",
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
