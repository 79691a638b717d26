"""The head first, then all: what moves, at which rate, and that a run may be cut anywhere."""

import json

import pytest
import torch
from tiny_runs import PX, assert_same_weights, stop_after
from torch.nn import functional as F  # noqa: N812
from torch.testing import assert_close

from imgcls.datasets.opening import open_dataset
from imgcls.datasets.stored_images import FileImages
from imgcls.errors import ConfigError
from imgcls.evaluation.metrics import evaluate_network
from imgcls.images.transform import Transform
from imgcls.models.building import build_network
from imgcls.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from imgcls.models.heads import FeatureRecorder
from imgcls.models.loading import load_model
from imgcls.recipes.loading import load_recipe
from imgcls.recipes.optimization import OptimSettings
from imgcls.runs.events import EpochEnd, FeatureProgress, Started
from imgcls.runs.result import Score
from imgcls.training.early_stopping import is_out_of_patience
from imgcls.training.fine_tuning import features
from imgcls.training.fine_tuning.phases import Phase, changing_settings, phase_at, phases_of
from imgcls.training.optimization.lr_schedule import rate_factor
from imgcls.training.optimization.optimizer import Optimisers
from imgcls.training.rng import epoch_order
from imgcls.training.run import train
from imgcls.training.setup.checks import check_recipe_fits

ARGUMENTS = {"widths": [6], "depth": 1}


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """A checkpoint to begin with, of other classes; its batch norm has seen something."""
    torch.manual_seed(4)
    network = build_network("cnn", num_classes=5, arguments=ARGUMENTS)
    network(torch.randn(20, 3, PX, PX))
    path = tmp_path_factory.mktemp("earlier") / "best.pt"
    weights = network.state_dict()
    save_checkpoint(Checkpoint("cnn", ARGUMENTS, tuple("abcde"), Transform(PX, PX), weights), path)
    return path


def recipe_for(photos, earlier, *settings):
    flags = {"data.source": str(photos), "model.name": str(earlier), "train.epochs": 4}
    return load_recipe(assignments=("train.batch_size=8", "optim.lr=0.01", *settings), flags=flags)


def test_phases_of_a_run(photos, earlier):
    def phases(*settings):
        return phases_of(recipe_for(photos, earlier, *settings))

    assert phases() == (Phase(False, 0, 4),)
    assert phases("finetune.freeze=true", "finetune.head_epochs=2") == (Phase(True, 0, 4),)
    both = phases("finetune.head_epochs=3")
    assert both == (Phase(True, 0, 3), Phase(False, 3, 1))
    assert [phase_at(both, epoch) for epoch in range(5)] == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("augment.flip=alternate", []), ("augment.padding=zero", []), ("augment.translate_px=2", ["augment.translate_px"]),
     ("train.resolution=[[0.5, 8]]", ["train.resolution"])],
)  # fmt: skip
def test_what_makes_images_differ_from_epoch_to_epoch(photos, earlier, setting, expected):
    assert changing_settings(recipe_for(photos, earlier, setting)) == expected


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_only_the_head_moves_in_a_frozen_run(photos, earlier, tmp_path, optimiser):
    events = []
    recipe = recipe_for(photos, earlier, "finetune.freeze=true", f"optim.name={optimiser}")
    train(recipe, output=tmp_path / "run", on_event=events.append)
    before, after = load_checkpoint(earlier).weights, load_checkpoint(tmp_path / "run/last.pt").weights
    for key, value in after.items():
        # Batch norm's running statistics too are those of before.
        assert key.startswith("head.") or torch.equal(value, before[key]), key
    assert next(event for event in events if isinstance(event, FeatureProgress)) == FeatureProgress(24, 24)
    started = events[0]
    assert isinstance(started, Started)
    assert (started.num_parameters, started.frozen_epochs, started.changing) == (6 * 3 + 3, 4, ())


def test_a_frozen_run_is_the_plain_script_on_the_bodys_features(photos, earlier, tmp_path):
    settings = ("finetune.freeze=true", "optim.name=sgd", "augment.flip=off", "schedule.shape=linear")
    recipe = recipe_for(photos, earlier, *settings, "train.precision=fp32")
    result = train(recipe, output=tmp_path / "run", device="cpu")
    model = load_model(str(tmp_path / "run"))
    data = open_dataset(str(photos), transform=model.transform)
    (batch,) = data.train.batches(torch.arange(24), batch_size=24, device=torch.device("cpu"))
    with torch.no_grad():
        features_NC = FeatureRecorder(model.network)(model.transform.normalise(batch.images_BCHW))
    # The head as the seed made it, from a run of which nothing is left but its first state.
    weight, bias = first_head(recipe, tmp_path)
    optimiser = torch.optim.SGD(
        [{"params": [weight], "weight_decay": recipe.optim.weight_decay}, {"params": [bias], "weight_decay": 0}],
        lr=recipe.optim.lr, momentum=0.9, nesterov=True,
    )  # fmt: skip
    for epoch in range(4):
        for number, rows in enumerate(epoch_order(0, epoch, 24).split(8)):
            for group in optimiser.param_groups:
                group["lr"] = recipe.optim.lr * rate_factor(3 * epoch + number, 12, recipe.schedule)
            loss = F.cross_entropy(F.linear(features_NC[rows], weight, bias) / 9, batch.labels_B[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    last = load_checkpoint(tmp_path / "run/last.pt").weights
    assert_close(last["head.weight"], weight.detach(), rtol=1e-4, atol=1e-6)
    assert_close(last["head.bias"], bias.detach(), rtol=1e-4, atol=1e-6)
    # What was measured on kept features is what the whole network comes to.
    whole = evaluate_network(
        model.network, data.val, transform=model.transform, device=torch.device("cpu"), batch_size=500
    )
    assert (whole.top1, whole.loss) == (result.best.top1, pytest.approx(result.best.loss, rel=1e-6))


def first_head(recipe, tmp_path):
    from imgcls.training.setup.building import build_for_training
    from imgcls.training.setup.inputs import open_data, open_start

    images = open_data(recipe).train
    transform = Transform(PX, PX)
    start = open_start(recipe)
    network, _origin = build_for_training(recipe, images, transform=transform, device=torch.device("cpu"), start=start)
    return network.head.weight, network.head.bias


@pytest.mark.parametrize("flip", ["off", "random", "alternate"])
def test_kept_features_are_only_a_shortcut(photos, earlier, tmp_path, monkeypatch, flip):
    recipe = recipe_for(photos, earlier, "finetune.freeze=true", f"augment.flip={flip}")
    train(recipe, output=tmp_path / "kept")
    monkeypatch.setattr(features, "MAX_FEATURE_BYTES", 0)
    train(recipe, output=tmp_path / "anew")
    kept, anew = (load_checkpoint(tmp_path / name / "last.pt").weights for name in ("kept", "anew"))
    assert_close(kept, anew, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("asked", [1, 2, 6, 7, 8, 9, 10, 11])
@pytest.mark.parametrize("extra", [(), ("augment.translate_px=1",)], ids=["kept", "anew"])
def test_cut_in_either_phase_and_resumed_equals_uninterrupted(photos, earlier, tmp_path, asked, extra):
    recipe = recipe_for(
        photos, earlier, "finetune.head_epochs=2", "finetune.body_lr_factor=0.1", "train.ema_decay=0.8", *extra
    )
    expected = train(recipe, output=tmp_path / "whole")
    stopped = train(recipe, output=tmp_path / "cut", should_stop=stop_after(asked))
    assert stopped.stopped == "SIGINT"
    resumed = train(resume=tmp_path / "cut")
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")
    assert (resumed.best, resumed.last) == (expected.best, expected.last)
    assert resumed.start == expected.start


def test_every_phase_has_a_schedule_of_its_own(photos, earlier, tmp_path):
    recipe = recipe_for(
        photos, earlier, "finetune.head_epochs=2", "schedule.shape=linear", "schedule.warmup=0", "optim.lr=0.6"
    )
    train(recipe, output=tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    # Six steps down from 0.6, twice; the third and the sixth are an epoch's last.
    assert [row["lr"] for row in rows] == pytest.approx([0.4, 0.1, 0.4, 0.1])


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_the_body_may_move_more_slowly(name):
    network = build_network("cnn", num_classes=3, arguments=ARGUMENTS)
    optimisers = Optimisers(network, OptimSettings(name=name, lr=0.5, rest_lr=0.25), backbone_lr_factor=0.1)
    optimisers.set_rate(0.5)
    head = {id(parameter) for parameter in network.head.parameters()}
    for part in optimisers.parts:
        for group in part.param_groups:
            peak = 0.25 if name == "muon" and part is optimisers.parts[1] else 0.5
            of_head = {id(parameter) in head for parameter in group["params"]}
            assert len(of_head) == 1
            assert group["lr"] == pytest.approx(0.5 * peak * (1 if of_head.pop() else 0.1))
    if name != "muon":
        assert optimisers.rate == 0.25
    moved = sum(parameter.numel() for part in optimisers.parts for group in part.param_groups
                for parameter in group["params"])  # fmt: skip
    assert moved == sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def test_patience_begins_when_all_weights_move():
    best = Score(2, 0.9, 0.1)
    assert is_out_of_patience(best, Score(5, 0.8, 0.1), patience=3)
    assert not is_out_of_patience(best, Score(5, 0.8, 0.1), patience=3, since=4)
    assert is_out_of_patience(best, Score(7, 0.8, 0.1), patience=3, since=4)


def test_streamed_images_are_decoded_once_and_damaged_ones_left_out(photos, earlier, tmp_path, monkeypatch):
    import shutil

    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    damaged = folder / "red" / "0.png"
    damaged.write_bytes(damaged.read_bytes()[:40])
    recipe = recipe_for(folder, earlier, "finetune.freeze=true", "augment.flip=off")
    transform = Transform(PX, PX)
    streamed = open_dataset(str(folder), transform=transform, max_memory_mib=0, workers=0)
    opened = []
    original = FileImages.crop
    monkeypatch.setattr(
        FileImages, "crop", lambda images, index, made: opened.append(index) or original(images, index, made)
    )
    epochs = []
    result = train(recipe, output=tmp_path / "run", dataset=streamed, on_event=epochs.append)
    assert sum(isinstance(event, EpochEnd) for event in epochs) == 4
    # Training and validation share the files; each was opened once in four epochs, the damaged one included.
    assert sorted(opened) == list(range(30))
    assert [bad.path for bad in result.skipped] == [damaged]


@pytest.mark.parametrize(
    ("settings", "text", "hint"),
    [
        (
            ("model.name=cnn", "finetune.freeze=true"),
            "finetune.freeze: the backbone of cnn would stay as random",
            "--pretrained",
        ),
        (("model.name=cnn", "finetune.head_epochs=1"), "finetune.head_epochs: the backbone of cnn", "--weights FILE"),
        (("model.name=cifar10-cnn", "finetune.head_epochs=20"), "leaves none of train.epochs = 20", "--epochs 21"),
    ],
)
def test_phases_that_make_no_sense(settings, text, hint):
    with pytest.raises(ConfigError) as caught:
        check_recipe_fits(load_recipe(assignments=settings, flags={"data.source": "photos"}))
    assert text in caught.value.message
    assert hint in caught.value.hint


def test_a_frozen_run_in_slices_of_no_time_still_ends(photos, earlier, tmp_path):
    recipe = recipe_for(photos, earlier, "finetune.freeze=true")
    train(recipe, output=tmp_path / "whole")
    result = train(recipe, output=tmp_path / "cut", max_sec=1e-9)
    slices = 1
    while result.stopped == "max-time" and slices < 20:
        result = train(resume=tmp_path / "cut", max_sec=1e-9)
        slices += 1
    assert (result.stopped, result.epochs, slices) == (None, 4, 12)
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")


def test_flips_alone_are_kept_while_the_head_trains_where_augmentation_is_left_out(photos, earlier):
    crops = ("augment.crop_scale=0.5", "train.resolution=[[0.5, 8]]")
    assert changing_settings(recipe_for(photos, earlier, *crops)) == ["augment.crop_scale", "train.resolution"]
    assert changing_settings(recipe_for(photos, earlier, *crops, "finetune.head_augment=false")) == []


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_batch_norms_keep_the_statistics_that_they_came_with(photos, earlier, tmp_path, frozen):
    settings = (f"finetune.freeze_batch_norm={str(frozen).lower()}", "finetune.head_epochs=1", "train.ema_decay=0.9")
    train(recipe_for(photos, earlier, *settings), output=tmp_path / "run", device="cpu")
    before, after = (load_checkpoint(path).weights for path in (earlier, tmp_path / "run/last.pt"))
    statistics = [key for key in before if key.endswith(("running_mean", "running_var"))]
    assert statistics
    for key in statistics:
        assert torch.equal(before[key], after[key]) is frozen
    # Their weights are trained like all others.
    moved = [key for key in before if key.endswith("weight") and before[key].shape == after[key].shape]
    assert any(not torch.equal(before[key], after[key]) for key in moved)


def test_batch_norms_of_random_weights_cant_be_frozen():
    recipe = load_recipe(assignments=("finetune.freeze_batch_norm=true", "data.source=photos"))
    with pytest.raises(ConfigError, match=r"finetune\.freeze_batch_norm"):
        check_recipe_fits(recipe)
