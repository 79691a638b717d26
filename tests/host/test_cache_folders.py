"""Where the caches are."""

from pathlib import Path

import pytest
import torch.hub

from imgcls.host import cache_folders


@pytest.mark.parametrize(
    "variables",
    [
        {"TORCH_HOME": "/somewhere/torch"},
        {"TORCH_HOME": "~/torch"},
        {"XDG_CACHE_HOME": "/somewhere/cache"},
        {},
    ],
)
def test_weights_are_where_torch_hub_looks(monkeypatch, variables):
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folders.weights_folder() == Path(torch.hub.get_dir()) / "checkpoints"


def test_our_cache(monkeypatch, private_home):
    assert cache_folders.cache_folder() == private_home / "imgcls"
    assert cache_folders.datasets_folder() == private_home / "imgcls" / "datasets"
    monkeypatch.setenv("IMGCLS_CACHE", "~/elsewhere")
    assert cache_folders.cache_folder() == private_home / "elsewhere"


@pytest.mark.parametrize(
    ("platform", "expected"),
    [("linux", "cache/imgcls"), ("darwin", "Library/Caches/imgcls"), ("win32", "imgcls")],
)
def test_each_platforms_place(monkeypatch, private_home, platform, expected):
    monkeypatch.delenv("IMGCLS_CACHE")
    monkeypatch.setattr("sys.platform", platform)
    assert cache_folders.cache_folder() == private_home / expected


@pytest.mark.parametrize(("value", "offline"), [("", False), ("0", False), ("1", True), ("yes", True)])
def test_offline(monkeypatch, value, offline):
    monkeypatch.setenv("IMGCLS_OFFLINE", value)
    assert cache_folders.is_offline() is offline


def test_online_unless_told():
    assert not cache_folders.is_offline()
