"""From the options of `imgcls serve` to what the server is asked to do."""

import itertools
from typing import TYPE_CHECKING

from imgcls.cli import console, foreign_model
from imgcls.cli.foreign_model import ForeignOptions
from imgcls.cli.predict.decoding import DecodingOptions
from imgcls.cli.predict.messages import say_smaller_batch
from imgcls.cli.predict.model import SpeedOptions
from imgcls.cli.serve.limits import BatchOptions, LimitOptions
from imgcls.cli.serve.options import (
    AddressOptions,
    LifeOptions,
    ModelOptions,
    SafetyOptions,
    check_one_model,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgcls.images.inputs.source import Source
    from imgcls.serving.config import ServeConfig


def bound_pillow(config: "ServeConfig") -> None:
    """Hold Pillow itself to the limit on pixels, for the whole process."""
    from imgcls.cli.predict.limits import LimitOptions as PredictLimits

    PredictLimits(max_pixels=config.limits.image_pixels).bound_pillow()


def without_end() -> "Iterator[Source]":
    """The images to come, as far as they can be told: more than any twin takes to pay."""
    from imgcls.errors import ImageError
    from imgcls.images.inputs.source import Source

    return itertools.repeat(Source("", failure=ImageError("not_found", "it has not come yet")))


def serve_config(
    model: ModelOptions,
    where: AddressOptions,
    batches: BatchOptions,
    limits: LimitOptions,
    who: SafetyOptions,
    life: LifeOptions,
    speed: SpeedOptions,
    decoding: DecodingOptions,
    foreign: ForeignOptions,
) -> "ServeConfig":
    """Check the options against each other, and read the files that they name.

    Raises:
        UsageError: options that exclude each other, or are missing where others are given.
        ImgclsError: a file of theirs can't be read.
    """
    from imgcls.inference.backends.backend import LoadOptions
    from imgcls.inference.settings import PredictSettings
    from imgcls.serving.api.image_urls import UrlPolicy
    from imgcls.serving.config import ServeConfig

    transform = foreign.transform()
    check_one_model(model.models, model.weights, foreign.labels, transform, foreign.activation, foreign.output_name)
    address = where.address()
    safety = who.safety(address)
    told = limits.limits()
    load = LoadOptions(
        weights=model.weights,
        device=model.devices[0],
        precision=speed.precision.value,
        calibrate=speed.calibrate,
        labels=foreign_model.read_labels(foreign.labels),
        transform=transform,
        activation=foreign.told_activation(),
        output_name=foreign.output_name,
        ema=model.ema,
        runtime=model.runtime.value,
        allow_code=model.allow_code,
        upcoming=without_end,
        on_step=console.message,
    )
    settings = PredictSettings(
        top_k=model.top_k,
        batch_size=batches.max_batch,
        num_threads=batches.decode_threads,
        max_pixels=limits.max_pixels,
        decode_limit_sec=limits.image_timeout,
        fetch_limit_sec=who.url_timeout,
        threshold=model.threshold,
        fast_decode=speed.fast_decode,
        accepts_truncated=decoding.accepts_truncated,
        background_rgb=decoding.background_rgb,
        depth_bits=decoding.depth,
        on_smaller_batch=say_smaller_batch,
        fetch=UrlPolicy(safety.url_hosts).fetch(max_bytes=told.body_bytes, time_limit_sec=who.url_timeout),
    )
    return ServeConfig(
        models=model.models,
        load=load,
        settings=settings,
        devices=model.devices,
        workers=life.workers,
        address=address,
        batching=batches.batching(),
        limits=told,
        safety=safety,
        grace_sec=life.grace,
        has_page=life.page,
    ).check(no_auth=who.no_auth)
