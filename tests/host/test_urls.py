"""URLs as text: what is hidden, what is sent, what counts as private."""

import pytest

from imgcls.host.http.urls import is_private, redirect_target, split_user, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:pass@host/a.jpg", "http://***@host/a.jpg"),
        ("HTTPS://token@host:8080/a?b=c#d", "HTTPS://***@host:8080/a?b=c#d"),
        ("http://user:p@ss@host/", "http://***@host/"),
        ("s3://key:secret@bucket/a", "s3://***@bucket/a"),
        ("http://h/a?X-Amz-Signature=12&x=1", "http://h/a?X-Amz-Signature=***&x=1"),
        ("http://h/a?w=1&access_token=t0p&sig=s#f", "http://h/a?w=1&access_token=***&sig=***#f"),
        ("http://h/a?design=1&author=me", "http://h/a?design=1&author=me"),
        ("http://h/me@home.jpg?to=a@b", "http://h/me@home.jpg?to=a@b"),
        ("shots/me@home.jpg", "shots/me@home.jpg"),
        ("plain text", "plain text"),
    ],
)
def test_secrets_are_hidden_and_nothing_else(text, shown):
    assert without_secrets(text) == shown
    assert without_secrets(shown) == shown


@pytest.mark.parametrize(
    ("url", "sent", "user"),
    [
        ("http://user:pass@host/a", "http://host/a", b"user:pass"),
        ("http://us%40er:p%3Ass@host:8080/", "http://host:8080/", b"us@er:p:ss"),
        ("HTTP://host/a b#part", "http://host/a%20b", None),
        ("http://bücher.invalid/", "http://xn--bcher-kva.invalid/", None),
        ("http://[::1]:80/a", "http://[::1]:80/a", None),
    ],
)
def test_what_is_sent(url, sent, user):
    assert split_user(url) == (sent, user)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://h/a", "no address", "http://", "http://["])
def test_other_addresses_are_refused(url):
    with pytest.raises(ValueError, match=r"."):
        split_user(url)


def test_redirects_are_relative_and_stay_on_http():
    assert redirect_target("http://h/a/b?c", "../d") == ("http://h/d", None)
    assert redirect_target("https://h/a", "//other/x") == ("https://other/x", None)
    with pytest.raises(ValueError, match=r"redirects to ftp://\*\*\*@h/: only http"):
        redirect_target("http://h/a", "ftp://u:p@h/")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254",
     "::1", "[::1]", "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "0.0.0.0", "100.64.0.1", "localhost",
     "a.localhost.", "LOCALHOST"],
)  # fmt: skip
def test_private_addresses_in_every_spelling(host):
    assert is_private(host)


@pytest.mark.parametrize("host", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "example.org", "localhost.org"])
def test_public_addresses(host):
    assert not is_private(host)
