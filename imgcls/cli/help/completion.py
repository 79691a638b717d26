"""What the shell completes: names of models, devices and keys of the recipe; imports no torch."""

DEVICES = ("auto", "cpu", "cuda", "cuda:0", "cuda:1", "mps", "xpu")


def complete_model(incomplete: str) -> list[str]:
    """Names that `--model` knows; paths are the shell's own to complete."""
    from imgcls.models.registry import FAMILIES

    names = (name for family in FAMILIES for name in family.known_names())
    return [name for name in names if name.startswith(incomplete)]


def complete_device(incomplete: str) -> list[str]:
    """Names that `--device` knows."""
    return [name for name in DEVICES if name.startswith(incomplete)]


def complete_setting(incomplete: str) -> list[str]:
    """Keys of the recipe, such as `train.epochs=`."""
    from imgcls.recipes.schema import Recipe

    keys = [
        f"{section}.{key}="
        for section, field in Recipe.model_fields.items()
        for key in getattr(field.annotation, "model_fields", ())
    ]
    return [key for key in keys if key.startswith(incomplete)]
