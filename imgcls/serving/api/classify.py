"""From the images of a request to their records: admission, the wait, and a client that goes away meanwhile."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request

from imgcls.errors import ImgclsError
from imgcls.images.inputs.source import Source
from imgcls.outputs.record import ImageRecord
from imgcls.serving.config import Batching
from imgcls.serving.engine.job import Job, RefusedError
from imgcls.serving.engine.served_model import ServedModel, ServedModels
from imgcls.serving.http.bodies import ClientGoneError
from imgcls.serving.http.problems import Problem, overloaded
from imgcls.serving.metrics import Metrics

# A reload can take a model away between the look for it and the admission; the next one is there then.
SWAPS = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says of its answer.

    Attributes:
        model: by name; None for the default.
        top_k: how many classes; None for the server's.
        threshold: below which an answer is uncertain; None for the server's.
    """

    model: str | None = None
    top_k: int | None = None
    threshold: float | None = None


def _give_up(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_exception(ClientGoneError())


class Classification:
    """Answers images of requests.

    Args:
        models: which can be asked.
        batching: how long they may take.
        metrics: where answers are counted.
    """

    def __init__(self, models: ServedModels, batching: Batching, metrics: Metrics) -> None:
        self.models = models
        self._timeout_sec = batching.timeout_sec
        self._metrics = metrics

    def model(self, asked: Asked) -> ServedModel:
        """The model that a request names.

        Raises:
            Problem: 404.
        """
        model = self.models.get(asked.model)
        if model is None:
            names = ", ".join(each.name for each in self.models)
            raise Problem(404, f"there is no model of that name; there are: {names}")
        return model

    async def classify(self, request: Request, sources: Sequence[Source], asked: Asked) -> list[ImageRecord]:
        """One record per image, in their order.

        Args:
            request: whose client waits.
            sources: the images.
            asked: how they are answered.
        Raises:
            Problem: 404; 503 where there are too many, or no answer came in time.
            ClientGoneError: nobody waits any more.
        """
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[None] = loop.create_future()
        num_left = len(sources)

        def end_one() -> None:
            nonlocal num_left
            num_left -= 1
            if num_left == 0 and not waiting.done():
                waiting.set_result(None)

        def on_done(_job: Job) -> None:
            loop.call_soon_threadsafe(end_one)

        jobs = self._submit(sources, asked, on_done)
        connection = request.scope.get("extensions", {}).get("imgcls.connection")
        if connection is not None:
            connection.when_gone(lambda: _give_up(waiting))
        is_through = False
        try:
            # Whatever is late ends by itself; this is for an image that is in the network when its time is up.
            async with asyncio.timeout(self._timeout_sec):
                await waiting
            is_through = True
        except TimeoutError:
            raise overloaded(f"not answered within {self._timeout_sec:g} s", 1) from None
        finally:
            if connection is not None:
                connection.when_gone(None)
            if not is_through:
                for model in self.models:
                    model.engine.cancel(jobs)
        return [self._record(job) for job in jobs]

    def _submit(self, sources: Sequence[Source], asked: Asked, on_done: "object") -> list[Job]:
        for _ in range(SWAPS):
            model = self.model(asked)
            settings = model.engine.predictor.settings
            top_k = min(asked.top_k or settings.top_k, len(model.loaded.backend.classes))
            threshold = settings.threshold if asked.threshold is None else asked.threshold
            deadline = time.monotonic() + self._timeout_sec
            jobs = [Job(source, top_k, threshold, deadline, on_done) for source in sources]  # type: ignore[arg-type]
            try:
                model.engine.submit(jobs)
            except RefusedError as exc:
                if self.models.get(asked.model) is not model:
                    continue
                raise overloaded(exc.reason, exc.retry_after_sec) from exc
            return jobs
        raise overloaded("the models are being replaced", 1)

    def _record(self, job: Job) -> ImageRecord:
        if job.record is not None:
            self._metrics.count(job, job.record)
            return job.record
        match job.failure:
            case RefusedError():
                raise overloaded(job.failure.reason, job.failure.retry_after_sec)
            case ImgclsError():
                raise Problem(500, "the model can't answer") from job.failure
        raise job.failure or AssertionError("a job ended without an answer")
