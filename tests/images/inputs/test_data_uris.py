"""Images that are written out in their own address."""

import base64

import pytest

from imgcls.errors import ImageError
from imgcls.images.inputs.data_uris import decode_data_uri, is_data_uri
from imgcls.images.inputs.source import Source
from imgcls.images.inputs.sources import iterate_sources

BYTES = bytes(range(256))
BASE64 = base64.b64encode(BYTES).decode()


@pytest.mark.parametrize(
    "uri",
    [
        f"data:image/png;base64,{BASE64}",
        f"DATA:;BASE64,{BASE64}",
        f"data:image/png;name=a;base64,{BASE64.rstrip('=')}",
        f"data:image/png;base64,{BASE64[:100]}\n  {BASE64[100:]}",
        "data:image/png;base64," + base64.urlsafe_b64encode(BYTES).decode(),
        "data:image/png;base64," + BASE64.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
        "data:image/png," + "".join(f"%{byte:02X}" for byte in BYTES),
    ],
)
def test_every_spelling_of_the_same_bytes(uri):
    assert is_data_uri(uri)
    assert decode_data_uri(uri) == BYTES


def test_as_it_is_written():
    # RFC 2397, section 2: without base64 the text itself.
    assert decode_data_uri("data:,A%20brief%20note") == b"A brief note"


@pytest.mark.parametrize("payload", ["A", "AB!C", "=AAA", "AA=A", "\udcff"])
def test_damaged_base64(payload):
    with pytest.raises(ImageError, match="base64") as caught:
        decode_data_uri(f"data:image/png;base64,{payload}")
    assert caught.value.kind == "corrupt_image"


@pytest.mark.parametrize("text", ["data:", "data:x.png", "./data:,a", "database,x.png", "mydata:,x"])
def test_names_of_files_stay_names(text):
    assert not is_data_uri(text)


def test_they_are_inputs_named_as_given():
    whole, torn = f"data:image/png;base64,{BASE64}", "data:;base64,A"
    first, second = iterate_sources([whole, torn])
    assert first == Source(whole, content=BYTES)
    assert second.name == torn
    assert second.failure is not None
