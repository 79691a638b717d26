"""The models that a server offers: loading, the check on an image, swapping for new weights without a pause."""

import gc
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imgcls.errors import ImgclsError, ModelError, UsageError
from imgcls.inference.backends.backend import LoadedBackend, load_backend
from imgcls.inference.predictor import Predictor
from imgcls.models.registry import EXPORTED
from imgcls.serving.config import ServeConfig
from imgcls.serving.engine.engine import Engine
from imgcls.serving.engine.warm_up import best_batch, classify_check_image

# What a model may still have in hand when another has taken its place.
DRAIN_SEC = 60.0


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model, ready to answer.

    Attributes:
        name: by which requests ask for it.
        spec: what `--model` said.
        loaded: the model.
        engine: its queue.
        loaded_at: seconds since 1970.
    """

    name: str
    spec: str
    loaded: LoadedBackend
    engine: Engine
    loaded_at: float

    @property
    def id(self) -> str:
        """Name and first digits of the weights' SHA-256."""
        return self.loaded.backend.id

    def describe(self) -> dict[str, Any]:
        """What `/v1/models` says of it."""
        return {
            "name": self.name,
            "device": self.loaded.device,
            "loaded_at": self.loaded_at,
            "model": self.loaded.backend.describe(),
        }


class ServedModels:
    """All models of a server, by name; the first is the default.

    Args:
        config: which, and how they are loaded.
        load: turns a spec into a model; replaced where one shows how far a download is.
    Raises:
        ImgclsError: one can't be loaded, or doesn't classify.
    """

    def __init__(self, config: ServeConfig, load: Callable[[str], LoadedBackend] | None = None) -> None:
        self._config = config
        self._load = load or (lambda spec: load_backend(spec, config.load))
        self._reloading = threading.Lock()
        self._models: dict[str, ServedModel] = {}
        for spec in config.models:
            name = name_of(spec)
            if name in self._models:
                raise UsageError(f"two models are called {name}", hint="rename one of the files")
            self._models[name] = self._open(name, spec)
        self.default = next(iter(self._models))

    def __iter__(self) -> "Any":
        return iter(list(self._models.values()))

    @property
    def default_model(self) -> ServedModel:
        """The one that is asked where a request names none."""
        return self._models[self.default]

    def get(self, name: str | None) -> ServedModel | None:
        """A model by name; the default without one; None where there is none of that name."""
        return self._models.get(name or self.default)

    def reload(self) -> list[ServedModel]:
        """Load all models anew beside those that answer, check each on an image, and let them take over.

        What has been admitted is answered by the model that admitted it.

        Returns:
            The new models.
        Raises:
            ImgclsError: one can't be loaded or doesn't classify; the old ones go on, all of them.
        """
        with self._reloading:
            fresh: list[ServedModel] = []
            try:
                for model in list(self._models.values()):
                    fresh.append(self._open(model.name, model.spec))
            except BaseException:
                for model in fresh:
                    model.engine.close()
                raise
            old = list(self._models.values())
            for model in fresh:
                self._models[model.name] = model
        engines = [model.engine for model in old]
        threading.Thread(target=_drain, args=(engines,), name="drain", daemon=True).start()
        return fresh

    def close(self, timeout_sec: float) -> bool:
        """Finish what is in hand; whether that was possible in time."""
        end = time.monotonic() + timeout_sec
        are_closed = [model.engine.close(max(end - time.monotonic(), 0.0)) for model in self._models.values()]
        return all(are_closed)

    def _open(self, name: str, spec: str) -> ServedModel:
        config = self._config
        loaded = self._load(spec)
        loaded.backend.keep_in_memory()
        settings = replace(
            config.settings,
            batch_size=config.batching.max_batch,
            top_k=min(config.settings.top_k, len(loaded.backend.classes)),
        )
        predictor = Predictor(loaded.backend, settings)
        try:
            record = classify_check_image(predictor)
        except ImgclsError:
            raise
        except Exception as exc:
            raise ModelError(f"{spec} can't classify an image: {exc}", hint=f"imgcls predict -m {spec} FILE") from exc
        if not record.predictions:
            raise ModelError(f"{spec} names no class", hint=f"imgcls predict -m {spec} FILE")
        best = best_batch(loaded.device, config.batching.max_batch)
        return ServedModel(name, spec, loaded, Engine(predictor, config.batching, best_batch=best), time.time())


def _drain(engines: list[Engine]) -> None:
    """Let models answer what they have in hand, and their memory go."""
    while engines:
        engines.pop().close(DRAIN_SEC)
    # Threads and queues refer to each other, and a server makes so few objects that nobody would look for long.
    gc.collect()


def name_of(spec: str) -> str:
    """The name by which requests ask for a model: of a file or a run folder its own, without the suffix."""
    path = Path(spec)
    if path.suffix.lower() in (".pt", ".pth", ".onnx", ".safetensors", *EXPORTED):
        return path.parent.name if path.stem in ("best", "last") and path.parent.name else path.stem
    return path.name if path.is_dir() else spec
