import io

import pytest
import torch
from torch import nn

from imgcls.datasets.labelled_images import Batch, DataDescription
from imgcls.distributed.process_group import Processes
from imgcls.errors import DataError
from imgcls.images.transform import Transform
from imgcls.recipes.loading import load_recipe
from imgcls.runs.events import StepProgress
from imgcls.training.checkpointing.loop_state import loop_state, restore_loop
from imgcls.training.fine_tuning.phase_setup import PhaseSetup
from imgcls.training.loop import Loop
from imgcls.training.loss import BUFFERED_STEPS, DivergedError
from imgcls.training.position import EpochSummary
from imgcls.training.precision import Precision

PX = 8
CPU = torch.device("cpu")


class Coloured:
    """Images in memory whose class is their brightest channel."""

    classes = ("red", "green", "blue")
    skipped = ()
    description = DataDescription("coloured", "train", "0" * 64)

    def __init__(self, count, *, drop=()):
        generator = torch.Generator().manual_seed(7)
        self.labels_N = torch.arange(count) % 3
        self.images = torch.randint(0, 200, (count, 3, PX, PX), dtype=torch.uint8, generator=generator)
        self.images[torch.arange(count), self.labels_N] += 55
        self.seen = []
        self.drop = set(drop)

    def __len__(self):
        return len(self.labels_N)

    def stored(self, index):
        return self, index

    def batches(self, order, *, batch_size, device):
        # Like a data loader's, whose start draws a number from the global generator.
        torch.rand(1)
        for chosen in order.split(batch_size):
            kept = torch.tensor([index for index in chosen.tolist() if index not in self.drop], dtype=torch.int64)
            self.seen.append(kept.tolist())
            yield Batch(self.images[kept].to(device), self.labels_N[kept].to(device), kept)


def build_loop(images, *settings, network=None, px=PX, precision=None):
    recipe = load_recipe(
        assignments=["data.source=coloured", "optim.lr=0.01", "train.batch_size=8", "augment.flip=off", *settings]
    )
    torch.manual_seed(0)
    network = network or nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(8 * 36, 3)
    )
    setup = PhaseSetup(
        network,
        images,
        recipe,
        transform=Transform(resize_px=px, crop_px=px),
        device=CPU,
        precision=precision or Precision(),
        processes=Processes(),
    )
    return Loop(setup)


def run(loop, epochs, *, stop_at=None):
    summaries = []
    while loop.position.epoch < epochs:
        summary = loop.run_epoch(lambda event: None, lambda: "now" if loop.position.step == stop_at else None)
        if isinstance(summary, str):
            break
        summaries.append(summary)
        if loop.position.step == stop_at:
            break
    return summaries


def joined(batches):
    return [index for batch in batches for index in batch]


def weights(loop):
    return {name: value.clone() for name, value in loop.evaluated_network.state_dict().items()}


EVERYTHING = (
    "augment.flip=alternate",
    "augment.translate_px=1",
    "augment.cutout_px=2",
    "train.ema_decay=0.9",
    "train.ema_every=2",
    "optim.grad_clip=1",
    "optim.label_smoothing=0.1",
    "train.epochs=3",
)


def test_one_batch_overfits():
    loop = build_loop(Coloured(8), "train.epochs=30", "schedule.shape=constant", "schedule.warmup=0")
    summaries = run(loop, 30)
    assert summaries[-1].train_loss < 0.05 < summaries[0].train_loss


def test_the_same_seed_gives_the_same_loss_and_another_seed_another():
    losses = [
        [summary.train_loss for summary in run(build_loop(Coloured(21), *EVERYTHING, f"train.seed={seed}"), 3)]
        for seed in (3, 3, 4)
    ]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


LEVERS = {
    "everything": EVERYTHING,
    "sgd": (*EVERYTHING, "optim.name=sgd"),
    "muon": (*EVERYTHING, "optim.name=muon"),
    "step": ("schedule.shape=step",),
    "crop": ("augment.crop_scale=0.3",),
    "randaugment": ("augment.policy=randaugment",),
    "trivialaugment": ("augment.policy=trivialaugment",),
    "erasing": ("augment.erasing=0.5",),
    "mixup": ("augment.mixup=0.4",),
    "cutmix": ("augment.cutmix=1",),
    "both": ("augment.mixup=0.4", "augment.cutmix=1"),
    "accumulate": ("train.accumulate=3",),
    "class weights": ("optim.class_weights=balanced",),
    "all of them": (
        *EVERYTHING,
        "augment.crop_scale=0.3",
        "augment.policy=trivialaugment",
        "augment.erasing=0.5",
        "augment.mixup=0.4",
        "augment.cutmix=1",
        "train.accumulate=2",
        "optim.class_weights=balanced",
    ),
}


@pytest.mark.parametrize("name", LEVERS)
@pytest.mark.parametrize("stop_at", [1, 4, 6])
def test_cut_saved_and_resumed_equals_uninterrupted(name, stop_at):
    settings = ("train.epochs=3", *LEVERS[name])
    whole = build_loop(Coloured(21), *settings)
    expected = run(whole, 3)
    cut = build_loop(Coloured(21), *settings)
    before = run(cut, 3, stop_at=stop_at)
    assert cut.position.step == stop_at
    file = io.BytesIO()
    torch.save(loop_state(cut), file)
    torch.manual_seed(99)
    resumed = build_loop(Coloured(21), *settings)
    file.seek(0)
    restore_loop(resumed, torch.load(file, weights_only=True))
    after = run(resumed, 3)
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    assert [s.train_loss for s in before + after] == [s.train_loss for s in expected]
    assert [s.lr for s in before + after] == [s.lr for s in expected]


def test_saved_again_before_it_goes_on_a_state_is_the_same():
    """As where a signal comes while a frozen backbone still runs over all images."""
    settings = ("train.epochs=2", "augment.flip=random", "augment.translate_px=1")
    whole, cut = build_loop(Coloured(21), *settings), build_loop(Coloured(21), *settings)
    run(whole, 2)
    run(cut, 2, stop_at=2)
    for _ in range(2):
        state = loop_state(cut)
        cut = build_loop(Coloured(21), *settings)
        restore_loop(cut, state)
    run(cut, 2)
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(cut)[name]), name


def test_a_state_of_another_kind_of_device_lets_the_epochs_stream_begin_anew():
    settings = ("train.epochs=1", "augment.flip=random")
    loop = build_loop(Coloured(21), *settings)
    run(loop, 1, stop_at=2)
    state = loop_state(loop)
    # A CUDA generator's state is a seed and an offset.
    state["streams"] |= {"device": "cuda", "augment": torch.zeros(16, dtype=torch.uint8)}
    resumed = build_loop(Coloured(21), *settings)
    restore_loop(resumed, state)
    assert len(run(resumed, 1)) == 1


def test_an_epochs_seconds_and_images_are_those_of_all_its_parts():
    whole, parts = build_loop(Coloured(21), "train.epochs=2"), build_loop(Coloured(21), "train.epochs=2")
    run(whole, 2)
    summaries = []
    while parts.position.epoch < 2:
        before = parts.position.train_sec
        summary = parts.run_epoch(lambda event: None, lambda: "now")
        if isinstance(summary, EpochSummary):
            summaries.append(summary)
            assert summary.seconds > parts.position.train_sec - before
    assert sum(summary.seconds for summary in summaries) == pytest.approx(parts.position.train_sec)
    assert [round(summary.seconds * summary.images_per_sec) for summary in summaries] == [21, 21]


def test_every_image_is_seen_once_an_epoch_in_another_order():
    images = Coloured(20)
    run(build_loop(images, "train.epochs=2"), 2)
    first, second = joined(images.seen[:3]), joined(images.seen[3:])
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    assert [len(batch) for batch in images.seen[:3]] == [8, 8, 4]


def test_a_last_batch_of_one_is_left_out():
    images = Coloured(17)
    loop = build_loop(images, "train.epochs=4")
    assert loop.steps_per_epoch == 2
    run(loop, 4)
    missing = [set(range(17)) - set(joined(images.seen[at : at + 2])) for at in (0, 2, 4, 6)]
    assert all(len(left_out) == 1 for left_out in missing)
    assert len(set.union(*missing)) > 1


def test_a_batch_that_damage_left_with_one_image_is_passed_over():
    images = Coloured(12, drop=range(1, 12))
    loop = build_loop(images, "train.epochs=1", "train.batch_size=4")
    run(loop, 1)
    assert loop.position.step == 0
    assert loop.position.epoch == 1


def test_single_images_train_where_they_were_asked_for():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * PX * PX, 3))
    loop = build_loop(Coloured(3), "train.batch_size=1", "train.epochs=1", network=network)
    run(loop, 1)
    assert loop.position.step == 3


def test_fewer_than_two_images_are_an_error():
    with pytest.raises(DataError, match="1 training image"):
        build_loop(Coloured(1))


@pytest.mark.parametrize("bad_step", [1, 3, BUFFERED_STEPS + 2])
def test_a_loss_that_is_no_number_stops_the_run_and_names_the_step(bad_step):
    class Breaking(nn.Linear):
        steps = 0

        def forward(self, x):
            Breaking.steps += 1
            return super().forward(x) * (float("nan") if Breaking.steps >= bad_step else 1)

    network = nn.Sequential(nn.Flatten(), Breaking(3 * PX * PX, 3))
    loop = build_loop(Coloured(8 * (BUFFERED_STEPS + 10)), "train.epochs=1", network=network)
    with pytest.raises(DivergedError, match=f"the loss became nan at step {bad_step}") as caught:
        run(loop, 1)
    assert caught.value.step == bad_step
    assert "--lr 0.002" in caught.value.hint or "--lr 0.003" in caught.value.hint
    assert caught.value.exit_code == 5


def test_the_mean_loss_counts_images_not_batches():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * PX * PX, 3))
    images = Coloured(11)
    loop = build_loop(images, "train.epochs=1", "optim.lr=1e-30", "optim.weight_decay=0", network=network)
    (summary,) = run(loop, 1)
    inputs = loop.inputs.transform.normalise(images.images)
    expected = nn.functional.cross_entropy(network(inputs), images.labels_N).item()
    assert summary.train_loss == pytest.approx(expected, rel=1e-5)
    assert isinstance(summary, EpochSummary)


def test_progress_ends_with_the_last_step():
    events = []
    loop = build_loop(Coloured(20), "train.epochs=1")
    loop.run_epoch(events.append, lambda: None)
    assert all(isinstance(event, StepProgress) for event in events)
    assert (events[-1].epoch, events[-1].step, events[-1].steps_per_epoch) == (1, 3, 3)


def test_the_resolution_rises_with_the_run():
    sides = []

    class Spy(nn.Module):
        def forward(self, images):
            sides.append(images.shape[-1])
            return images

    network = nn.Sequential(Spy(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    settings = ("data.image_px=16", "train.resolution=[[0.5, 8]]", "train.epochs=2")
    recipe_loop = build_loop(Coloured(24), *settings, network=network, px=16)
    recipe_loop.images.images = recipe_loop.images.images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    run(recipe_loop, 2)
    assert sides == [8] * 3 + [16] * 3


def test_alternating_flips_mirror_each_image_every_second_epoch():
    seen = {}

    class Spy(nn.Module):
        def forward(self, images):
            for image in images:
                # Flipping moves values and changes none, so sorted they tell which image it is.
                seen.setdefault(tuple(image.flatten().sort().values.tolist()), []).append(image)
            return images

    network = nn.Sequential(Spy(), nn.Flatten(), nn.Linear(3 * PX * PX, 3))
    run(build_loop(Coloured(16), "augment.flip=alternate", "train.epochs=3", network=network), 3)
    assert len(seen) == 16
    starts = set()
    for first, second, third in seen.values():
        assert torch.equal(second, first.flip(2))
        assert torch.equal(third, first)
        starts.add(bool(first[0, 0, 0] > first[0, 0, -1]))
    assert starts == {True, False}


def test_alternating_flips_hold_for_what_damage_left_of_a_batch():
    seen = []

    class Spy(nn.Module):
        def forward(self, images):
            seen.append(images)
            return images

    settings = ("augment.flip=alternate", "train.epochs=2", "train.batch_size=16")
    images = Coloured(16, drop=(3, 8))
    loop = build_loop(images, *settings, network=nn.Sequential(Spy(), nn.Flatten(), nn.Linear(3 * PX * PX, 3)))
    run(loop, 2)
    by_epoch = [dict(zip(indices, batch, strict=True)) for indices, batch in zip(images.seen, seen, strict=True)]
    assert len(by_epoch[0]) == 14
    for index, image in by_epoch[0].items():
        assert torch.equal(by_epoch[1][index], image.flip(2))


def test_the_scale_of_a_loss_in_float16_is_taken_up():
    fp16 = Precision("fp16", torch.float16, scaled=True)
    whole, cut, resumed = (build_loop(Coloured(21), *EVERYTHING, precision=fp16) for _ in range(3))
    run(whole, 3)
    run(cut, 3, stop_at=4)
    restore_loop(resumed, loop_state(cut))
    run(resumed, 3)
    assert resumed.phase_setup.scaler.state_dict() == whole.phase_setup.scaler.state_dict()
    assert whole.phase_setup.scaler.state_dict()["_growth_tracker"] == 9
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(resumed)[name]), name


def test_training_accuracy_counts_every_image_once():
    images = Coloured(20)
    loop = build_loop(images, "optim.lr=0.01", "schedule.shape=constant")
    summaries = [loop.run_epoch(lambda event: None, lambda: None) for _ in range(3)]
    counts = [summary.train_top1 * 20 for summary in summaries]
    assert counts == pytest.approx([round(count) for count in counts])
    assert all(0 <= count <= 20 for count in counts)
    mixed = build_loop(Coloured(20), "augment.mixup=0.5").run_epoch(lambda event: None, lambda: None)
    assert mixed.train_top1 is None
