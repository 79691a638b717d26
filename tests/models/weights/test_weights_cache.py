"""Pretrained weights: the cache is checked, the rest is fetched, and every way to fail says what to do."""

import dataclasses
import hashlib
import os
import shlex

import pytest

from imgcls.errors import ExitCode, ModelError, OutputError
from imgcls.host import cache_folders
from imgcls.host.http.content import Limits
from imgcls.models.families.torchvision import ALEXNET
from imgcls.models.weights.weights_cache import (
    MIRROR_VARIABLE,
    cached_weights,
    digits_in_name,
    weights_path,
    weights_url,
)

BODY = b"weights " * 20_000
NAME = f"tiny-{hashlib.sha256(BODY).hexdigest()[:8]}.pth"
QUICK = Limits(idle_sec=0.3, total_sec=5, attempts=2, pause_sec=0.01)


@pytest.fixture
def entry(server):
    server.add(f"/models/{NAME}", BODY)
    return dataclasses.replace(ALEXNET, name="tiny", url=f"{server.url}/models/{NAME}")


def cache(entry, content=BODY):
    path = weights_path(entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def fails(entry, **options):
    with pytest.raises(ModelError) as caught:
        cached_weights(entry, limits=QUICK, **options)
    assert caught.value.exit_code == ExitCode.MODEL
    assert "\n" not in caught.value.message
    return caught.value


def names_the_way_out(error, url, path):
    assert url in error.message
    assert str(path) in error.hint
    assert "cifar10-cnn" not in error.hint, "it answers no ImageNet question"
    assert not list(path.parent.glob("*")) if path.parent.exists() else True


def test_fetched_once(server, entry, capfd):
    seen = []
    path = cached_weights(entry, progress=lambda done, total: seen.append((done, total)))
    assert path == cache_folders.weights_folder() / NAME
    assert path.read_bytes() == BODY
    assert seen[0] == (0, len(BODY))
    assert seen[-1] == (len(BODY), len(BODY))
    assert cached_weights(entry, progress=lambda *_: pytest.fail("nothing to fetch")) == path
    assert len(server.requests) == 1
    assert capfd.readouterr() == ("", "")


def test_cached_needs_no_network(entry, monkeypatch):
    path = cache(entry)
    monkeypatch.setenv("IMGCLS_OFFLINE", "1")
    assert cached_weights(entry) == path


def test_damaged_cache(server, entry):
    path = cache(entry, BODY[:-1] + b"!")
    found = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    error = fails(entry)
    expected = digits_in_name(NAME)
    assert error.message == f"{path} is damaged: its SHA-256 starts with {found}, not {expected}"
    assert server.requests == []
    # The hint is a command that mends it.
    command = shlex.split(error.hint.partition(": ")[2])
    assert command == (["del", str(path)] if os.name == "nt" else ["rm", str(path)])
    path.unlink()
    assert cached_weights(entry).read_bytes() == BODY


def test_damage_after_a_good_check_is_noticed(entry):
    path = cache(entry)
    cached_weights(entry)
    path.write_bytes(BODY + b"more")
    assert "is damaged" in fails(entry).message


@pytest.mark.parametrize("cut", [0, 1000])
def test_half_a_file_in_the_cache(entry, cut):
    cache(entry, BODY[:cut])
    assert "is damaged" in fails(entry).message


def test_name_without_digits(server, entry):
    server.add("/plain.pth", BODY)
    plain = dataclasses.replace(entry, url=f"{server.url}/plain.pth")
    path = cached_weights(plain)
    assert path.name == "plain.pth"
    assert cached_weights(plain) == path


def test_wrong_hash_from_the_server(server, entry):
    server.answers.clear()
    server.add(f"/models/{NAME}", b"a login page")
    error = fails(entry)
    names_the_way_out(error, entry.url, weights_path(entry))
    assert digits_in_name(NAME) in error.message


def test_offline(server, entry, monkeypatch):
    monkeypatch.setenv("IMGCLS_OFFLINE", "1")
    error = fails(entry)
    names_the_way_out(error, entry.url, weights_path(entry))
    assert "IMGCLS_OFFLINE" in error.message
    assert server.requests == []


def test_refused(entry, refused_url):
    entry = dataclasses.replace(entry, url=refused_url)
    names_the_way_out(fails(entry), refused_url, weights_path(entry))


def test_no_network(entry):
    entry = dataclasses.replace(entry, url=f"https://weights.invalid/{NAME}")
    error = fails(entry)
    names_the_way_out(error, entry.url, weights_path(entry))
    assert "no network" in error.message


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"status": 404}, "HTTP 404"),
        ({"status": 500}, "HTTP 500"),
        ({"hang": True}, "no answer"),
        ({"body": BODY, "drip_sec": 0.02}, "too slow"),
        ({"body": BODY[:100], "length": len(BODY)}, "cut short"),
        ({"status": 302, "headers": {"Location": "file:///etc/passwd"}}, "HTTP 302"),
    ],
    ids=str,
)
def test_bad_servers(server, entry, answer, said):
    server.answers.clear()
    server.add(f"/models/{NAME}", **answer)
    error = fails(entry)
    names_the_way_out(error, entry.url, weights_path(entry))
    assert said in error.message


@pytest.mark.parametrize("slash", ["", "/"])
def test_mirror(server, entry, monkeypatch, slash):
    server.add(f"/mirror/torch/{NAME}", BODY)
    entry = dataclasses.replace(entry, url=f"https://weights.invalid/models/{NAME}")
    monkeypatch.setenv(MIRROR_VARIABLE, f"{server.url}/mirror/torch{slash}")
    assert weights_url(entry) == f"{server.url}/mirror/torch/{NAME}"
    assert cached_weights(entry).read_bytes() == BODY


def test_mirror_that_is_no_address(entry, monkeypatch):
    monkeypatch.setenv(MIRROR_VARIABLE, "/srv/mirror")
    assert f"/srv/mirror/{NAME}" in fails(entry).message


def test_cache_that_cannot_be_written(entry, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="can't write") as caught:
        cached_weights(entry)
    assert "TORCH_HOME" in caught.value.hint


def test_real_alexnet_file(alexnet_weights, alexnet_entry):
    path = weights_path(alexnet_entry)
    path.parent.mkdir(parents=True)
    os.link(alexnet_weights, path)
    assert cached_weights(alexnet_entry) == path


@pytest.mark.parametrize(
    ("name", "digits"),
    [
        ("alexnet-owt-7be5be79.pth", "7be5be79"),
        ("mnasnet0.5_top1_67.823-3ffadce67e.pth", "3ffadce67e"),
        ("efficientnet_b0_rwightman-7f5810bc.pth", "7f5810bc"),
        ("plain.pth", ""),
        ("plain-model.pth", ""),
        ("model-.pth", ""),
        ("model-abc.pth", ""),
    ],
)
def test_digits_in_name(name, digits):
    assert digits_in_name(name) == digits


def test_the_password_of_a_mirror_is_in_no_message(server, entry, monkeypatch):
    monkeypatch.setenv(MIRROR_VARIABLE, server.url.replace("://", "://me:secret@") + "/mirror?token=hidden")
    error = fails(entry)
    assert "***@" in error.message
    assert "secret" not in error.message + error.hint
    assert "hidden" not in error.message + error.hint
