"""Classifying the images of several clients as one batch."""

from collections.abc import Sequence
from dataclasses import replace

from imgcls.inference.predictor import Predictor
from imgcls.outputs.record import ImageRecord
from imgcls.serving.engine.job import Job


def classify(predictor: Predictor, batch: Sequence[Job]) -> None:
    """Give each job its record, or its own failure: one image must not take the others with it.

    Args:
        predictor: the model.
        batch: decoded images.
    """
    try:
        _answer(predictor, batch)
    except Exception as exc:
        if len(batch) == 1:
            batch[0].failure = exc
            return
        for job in batch:
            classify(predictor, [job])


def _answer(predictor: Predictor, batch: Sequence[Job]) -> None:
    decoded = [job.decoded for job in batch if job.decoded is not None]
    records = predictor.predict_decoded(decoded, top_k=max(job.top_k for job in batch))
    for job, record in zip(batch, records, strict=True):
        job.record = _as_asked(record, job)
        job.batch_size = len(batch)


def _as_asked(record: ImageRecord, job: Job) -> ImageRecord:
    """A batch is asked for the most classes that one of its clients wants; fewer are the first of them."""
    predictions = record.predictions[: job.top_k]
    if job.threshold is None or not predictions:
        return record if len(predictions) == len(record.predictions) else replace(record, predictions=predictions)
    return replace(record, predictions=predictions, uncertain=predictions[0].probability < job.threshold)
