import pytest
import torch
from labelled_data import write_classes
from torch import nn

from imgcls.models.checkpoint import load_checkpoint
from imgcls.recipes.loading import load_recipe
from imgcls.training.ema import EmaNetwork
from imgcls.training.run import train


def test_an_ema_follows_by_its_formula():
    network = nn.BatchNorm1d(1)
    ema = EmaNetwork(network, decay=0.9, every=1)

    def move_to(value):
        with torch.no_grad():
            network.weight.fill_(value)
            network.num_batches_tracked.fill_(7)
        ema.update()
        return ema.network.weight.item()

    # Nothing stays of the 1 that was there before the first update.
    assert move_to(3.0) == 3.0
    assert ema.network.num_batches_tracked.item() == 7
    # The second keeps 2/11, the third 3/12.
    second = move_to(1.0)
    assert second == pytest.approx(3 * 2 / 11 + 1 * 9 / 11)
    assert move_to(1.0) == pytest.approx(second * 3 / 12 + 1 * 9 / 12)
    for _ in range(200):
        ema.update()
    assert ema.network.weight.item() == pytest.approx(1.0, abs=1e-6)
    assert not ema.network.weight.requires_grad


@pytest.mark.parametrize("every", [1, 8, 1000])
@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_a_run_shorter_than_the_updates_saves_what_it_learnt(tmp_path, model, every):
    data = write_classes(tmp_path / "data", {"a": 12, "b": 12})
    recipe = load_recipe(
        assignments=[
            "train.ema_decay=0.99", f"train.ema_every={every}", "optim.lr=0.01", "schedule.shape=constant",
            "train.batch_size=16", "data.image_px=8",
        ],
        flags={"model.name": model, "data.source": str(data), "train.epochs": 3},
    )  # fmt: skip
    result = train(recipe, output=tmp_path / "run")
    assert result.best.top1 == 1.0
    saved = load_checkpoint(tmp_path / "run/last.pt")
    trained = saved.resume["loop"]["network"]
    # Within a few updates of the last weights, and not the ones that training began with.
    name = next(name for name in reversed(trained) if name.endswith("weight"))
    torch.testing.assert_close(saved.weights[name], trained[name], atol=0.05, rtol=0)
    assert saved.resume["loop"]["average"]["num_updates"] >= 3
