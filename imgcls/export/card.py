"""What an exported file says of its model."""

from imgcls.export.report import PACKAGES
from imgcls.host.versions import versions
from imgcls.models.loaded_model import LoadedModel
from imgcls.models.model_card import Input, ModelCard


def card_of(model: LoadedModel, *, precision: str = "fp32", input_: Input = "normalised") -> ModelCard:
    """The card that goes into the file.

    Args:
        model: that is exported.
        precision: of the file's arithmetic.
        input_: what its graph takes.
    """
    return ModelCard(
        name=model.name,
        classes=model.classes,
        transform=model.transform,
        weights_sha256=model.weights_sha256,
        weights_revision=model.weights_revision,
        wordnet_ids=model.wordnet_ids,
        precision=precision,
        recipe=model.recipe,
        metrics=model.metrics,
        versions=versions(PACKAGES),
        calibration=model.calibration,
        multi_label=model.multi_label,
        input=input_,
    )
