"""What `imgcls predict` says to people, on stderr."""

from typing import TYPE_CHECKING

from imgcls.cli import console
from imgcls.images.archives.names import archive_suffix

if TYPE_CHECKING:
    from imgcls.images.inputs.walking import PassedOver
    from imgcls.inference.batch_run import BatchResult
    from imgcls.outputs.destination import Destination

MAX_NAMED = 5


def say_smaller_batch(size: int) -> None:
    """The device's memory doesn't hold the batch that was asked for."""
    noun = "image" if size == 1 else "images"
    console.warn(f"not enough memory for that many images at once; continuing with {size} {noun} (--batch-size {size})")


def say_what_was_passed_over(passed_over: "PassedOver", *, any_suffix: bool) -> None:
    """What folders held that isn't anybody's image, and folders that gave nothing, as when one isn't mounted.

    Args:
        passed_over: by the walks.
        any_suffix: whether files were judged by their first bytes.
    """
    if passed_over.system:
        console.message(f"passed over: {passed_over}")
    if passed_over.suffixes:
        named = passed_over.suffixes.most_common(MAX_NAMED)
        words = [f"{count:,} {suffix or 'without a suffix'}" for suffix, count in named]
        if (rest := passed_over.suffixes.total() - sum(count for _suffix, count in named)) > 0:
            words.append(f"{rest:,} others")
        why = (
            "not images by their first bytes"
            if any_suffix
            else "not images by their suffix (--any-suffix looks inside)"
        )
        console.message(f"passed over: {', '.join(words)}; {why}")
        if any(archive_suffix(f"_{suffix}") for suffix in passed_over.suffixes):
            console.message("archives are read where they are named, or match a pattern: 'shards/*.tar'")
    for name in passed_over.empty[:MAX_NAMED]:
        console.warn(f"no images in {'' if archive_suffix(name) else 'the folder '}{name}")
    if len(passed_over.empty) > MAX_NAMED:
        console.warn(f"no images in {len(passed_over.empty) - MAX_NAMED:,} more folders")


def say_how_it_ended(result: "BatchResult", seconds: float, destination: "Destination") -> None:
    """Counts and rate, and what became of the output.

    Args:
        result: of the run.
        seconds: that it took.
        destination: where its records went.
    """
    summary, output = result.summary, destination.path
    fresh = summary.count - summary.num_kept
    if summary.count != 1 or output is not None:
        rate = f", {fresh / seconds:.0f} img/s" if fresh > 1 else ""
        console.message(f"{summary}{rate}")
    if destination.report is not None and summary.count:
        console.message(f"wrote {destination.report}")
    if result.num_gone:
        noun = "an input" if result.num_gone == 1 else f"{result.num_gone:,} inputs"
        console.message(f"{output} had records of {noun} that are no longer given; they were removed")
    if result.left_output:
        console.message(f"{output} stays as it is")
    if result.ended != "finished":
        why = "interrupted" if result.ended == "interrupted" else "stopped: too many inputs failed"
        rest = "what is done is kept, --resume continues it" if destination.is_resumable else "the rest is not done"
        console.message(f"{why}; {rest}")
