"""ONNX files as other tools write them: how they end, what they take, what is refused with what to say."""

import contextlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_files import LABELS, NUM_CLASSES, SIDE, TRANSFORM, ending_in, expected_logits, some_pixels, weights, write_own

from imgcls import load_classifier
from imgcls.errors import ConfigError, ModelError, UsageError
from imgcls.images.transform import Transform
from imgcls.models.model_card import ModelCard
from imgcls.models.onnx.input_options import PRESETS, InputOptions
from imgcls.models.onnx.model import OnnxModel

SCALE = 0.05
PIXELS = some_pixels(6)
LOGITS = expected_logits(PIXELS, SCALE)
SOFTMAX = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
SIGMOID = 1 / (1 + np.exp(-LOGITS))


def node(operator, inputs, output, **attributes):
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def out(name, shape=("batch", NUM_CLASSES), dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, list(shape))


def number(name, value, dtype=np.float32):
    return numpy_helper.from_array(np.array(value, dtype), name)


def write(path: Path, nodes, outputs, constants=(), metadata=(), **settings) -> Path:
    model = ending_in(nodes, outputs, constants, **{"scale": SCALE, **settings})
    for key, value in metadata:
        model.metadata_props.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return path


QUANTISED = [number("step", 1 / 255), number("zero", 0, np.uint8)]
SHAPE = [number("shape", [-1, NUM_CLASSES], np.int64)]
ENDINGS = {
    "logits": ([node("Identity", "logits", "y")], [], SOFTMAX),
    "bias": ([node("Add", "logits five", "y")], [number("five", 5)], SOFTMAX),
    "log-softmax": ([node("LogSoftmax", "logits", "y", axis=1)], [], SOFTMAX),
    "softmax": ([node("Softmax", "logits", "y", axis=1)], [], SOFTMAX),
    "quantised softmax": (
        [
            node("Softmax", "logits", "p", axis=1),
            node("QuantizeLinear", "p step zero", "q"),
            node("DequantizeLinear", "q step zero", "y"),
        ],
        QUANTISED,
        SOFTMAX,
    ),
    "softmax in half precision, reshaped": (
        [
            node("Cast", "logits", "h", to=TensorProto.FLOAT16),
            node("Softmax", "h", "p", axis=1),
            node("Cast", "p", "f", to=TensorProto.FLOAT),
            node("Reshape", "f shape", "y"),
        ],
        SHAPE,
        SOFTMAX,
    ),
    "softmax of single steps": (
        [
            node("Exp", "logits", "e"),
            node("ReduceSum", "e axis", "s", keepdims=1),
            node("Div", "e s", "y"),
        ],
        [number("axis", [1], np.int64)],
        SOFTMAX,
    ),
    "sigmoid": ([node("Sigmoid", "logits", "y")], [], SIGMOID),
    "quantised sigmoid": (
        [
            node("Sigmoid", "logits", "p"),
            node("QuantizeLinear", "p step zero", "q"),
            node("DequantizeLinear", "q step zero", "y"),
        ],
        QUANTISED,
        SIGMOID,
    ),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_the_last_operator_decides_and_not_the_numbers(tmp_path, name):
    nodes, constants, expected = ENDINGS[name]
    backend = OnnxModel(write(tmp_path / "m.onnx", nodes, [out("y")], constants), labels=LABELS, transform=TRANSFORM)
    tolerance = 3e-3 if "quantised" in name or "half" in name else 1e-5
    np.testing.assert_allclose(backend.probabilities(PIXELS), expected, atol=tolerance)
    assert backend.describe().get("multi_label", False) == ("sigmoid" in name)


def test_logits_that_look_like_probabilities_are_still_logits(tmp_path):
    # Whatever the first batch looks like: rows of zero weights are all 0 and of bias 1/12 all sum up to 1.
    nodes = [node("Add", "logits twelfth", "y")]
    path = write(tmp_path / "m.onnx", nodes, [out("y")], [number("twelfth", [1 / 12] * 12)], scale=0.0)
    backend = OnnxModel(path, labels=LABELS, transform=TRANSFORM)
    assert backend.describe()["activation"] == "softmax"
    np.testing.assert_allclose(backend.probabilities(PIXELS), 1 / 12, atol=1e-6)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Relu", "logits", "y")],
        [node("Softmax", "logits", "p"), node("Mul", "p hundred", "y")],
        [node("Mul", "logits logits", "y")],
    ],
    ids=["relu", "percentages", "a square"],
)
def test_an_ending_that_shows_nothing_needs_a_word(tmp_path, nodes):
    path = write(tmp_path / "m.onnx", nodes, [out("y")], [number("hundred", 100)])
    with pytest.raises(UsageError, match="doesn't show whether") as caught:
        OnnxModel(path, labels=LABELS, transform=TRANSFORM)
    assert "--activation softmax" in caught.value.hint
    told = OnnxModel(path, labels=LABELS, transform=TRANSFORM, activation="softmax")
    np.testing.assert_allclose(told.probabilities(PIXELS).sum(axis=1), 1, atol=1e-5)


def test_what_a_person_says_goes_before_the_graph(tmp_path):
    path = write(tmp_path / "m.onnx", *ENDINGS["logits"][:1], [out("y")])
    backend = OnnxModel(path, labels=LABELS, transform=TRANSFORM, activation="sigmoid")
    np.testing.assert_allclose(backend.probabilities(PIXELS), SIGMOID, atol=1e-5)
    assert backend.describe()["multi_label"] is True
    none = OnnxModel(path, labels=LABELS, transform=TRANSFORM, activation="none")
    with pytest.raises(ModelError, match="no probabilities") as caught:
        none.probabilities(PIXELS)
    assert "--activation softmax" in caught.value.hint


def test_multi_label_answers_say_so_in_the_record(tmp_path):
    path = write(tmp_path / "m.onnx", *ENDINGS["sigmoid"][:1], [out("y")])
    record = load_classifier(path, labels=LABELS, transform=TRANSFORM).predict(PIXELS[0], top_k=12)
    assert record.to_dict()["multi_label"] is True
    assert sum(p.probability for p in record.predictions) > 1.1
    single = load_classifier(
        write(tmp_path / "s.onnx", *ENDINGS["softmax"][:1], [out("y")]), labels=LABELS, transform=TRANSFORM
    )
    assert "multi_label" not in single.predict(PIXELS[0]).to_dict()


FIRST = [number("first", [0], np.int64)]


def single_output(path, *nodes):
    """The first of the logits alone, and what follows it."""
    return write(path, [node("Gather", "logits first", "z", axis=1), *nodes], [out("y", ("batch", 1))], FIRST)


def test_a_single_output_with_a_sigmoid_is_the_probability_of_the_second_class(tmp_path):
    path = single_output(tmp_path / "m.onnx", node("Sigmoid", "z", "y"))
    backend = OnnxModel(path, labels=("cat", "dog"), transform=TRANSFORM)
    np.testing.assert_allclose(
        backend.probabilities(PIXELS), np.stack([1 - SIGMOID[:, 0], SIGMOID[:, 0]], axis=1), atol=1e-5
    )
    assert "multi_label" not in backend.describe()
    alone = OnnxModel(path, labels=("dog",), transform=TRANSFORM)
    np.testing.assert_allclose(alone.probabilities(PIXELS), SIGMOID[:, :1], atol=1e-5)
    assert alone.describe()["multi_label"] is True


def test_a_single_output_that_shows_nothing_is_refused_with_what_to_say(tmp_path):
    path = single_output(tmp_path / "m.onnx", node("MatMul", "z one", "y"))
    model = onnx.load(path)
    model.graph.initializer.append(number("one", [[1.0]]))
    onnx.save(model, path)
    with pytest.raises(UsageError, match="single output") as caught:
        OnnxModel(path, labels=("dog",), transform=TRANSFORM)
    assert "--activation sigmoid" in caught.value.hint
    with pytest.raises(UsageError, match="always 1"):
        OnnxModel(path, labels=("dog",), transform=TRANSFORM, activation="softmax")
    told = OnnxModel(path, labels=("cat", "dog"), transform=TRANSFORM, activation="sigmoid")
    np.testing.assert_allclose(told.probabilities(PIXELS)[:, 1], SIGMOID[:, 0], atol=1e-5)


def test_a_single_output_that_only_shows_when_it_answers_is_refused_then(tmp_path):
    path = shaped(tmp_path / "m.onnx", ("batch", "depth", 4, 4))
    options = InputOptions(mean=(0.5,), std=(0.5,), channels="grey")
    backend = OnnxModel(path, labels=("ink",), transform=options)
    with pytest.raises(ModelError, match="always 1") as caught:
        backend.probabilities(np.zeros((1, 4, 4, 3), np.uint8))
    assert "--activation sigmoid" in caught.value.hint


@pytest.mark.parametrize("shape", [("batch", NUM_CLASSES, 1, 1), ("batch", 1, 1, NUM_CLASSES)], ids=str)
def test_answers_with_sides_of_one_are_rows(tmp_path, shape):
    target = [number("to", [-1, *shape[1:]], np.int64)]
    path = write(tmp_path / "m.onnx", [node("Reshape", "logits to", "y")], [out("y", shape)], target)
    backend = OnnxModel(path, labels=LABELS, transform=TRANSFORM)
    np.testing.assert_allclose(backend.probabilities(PIXELS), SOFTMAX, atol=1e-5)


def test_answers_that_are_maps_are_refused(tmp_path):
    nodes = [node("Reshape", "logits to", "y")]
    path = write(tmp_path / "m.onnx", nodes, [out("y", ("batch", 3, 4))], [number("to", [-1, 3, 4], np.int64)])
    with pytest.raises(ModelError, match="no number for each class"):
        OnnxModel(path, labels=LABELS, transform=TRANSFORM)


def test_of_several_outputs_the_likely_one_is_read_and_named(tmp_path):
    nodes = [
        node("Relu", "logits", "features"),
        node("Softmax", "logits", "probabilities", axis=1),
        node("ArgMax", "logits", "label", axis=1, keepdims=0),
    ]
    outputs = [out("label", ("batch",), TensorProto.INT64), out("features"), out("logits"), out("probabilities")]
    path = write(tmp_path / "m.onnx", nodes, outputs)
    backend = OnnxModel(path, labels=LABELS, transform=TRANSFORM)
    np.testing.assert_allclose(backend.probabilities(PIXELS), SOFTMAX, atol=1e-5)
    assert "'probabilities'" in backend.notes[0]
    assert "--output-name" in backend.notes[0]
    assert backend.describe()["output"] == "probabilities"
    told = OnnxModel(path, labels=LABELS, transform=TRANSFORM, output_name="logits")
    np.testing.assert_allclose(told.probabilities(PIXELS), SOFTMAX, atol=1e-5)
    assert (told.notes, told.describe()["activation"]) == ((), "softmax")
    with pytest.raises(UsageError, match="no output 'class'") as caught:
        OnnxModel(path, labels=LABELS, transform=TRANSFORM, output_name="class")
    assert "label, features, logits, probabilities" in caught.value.hint
    with pytest.raises(ModelError, match="no number for each class in the output label"):
        OnnxModel(path, labels=LABELS, transform=TRANSFORM, output_name="label")


def test_files_of_azure_custom_vision(tmp_path):
    names = helper.make_tensor_value_info("classLabel", TensorProto.STRING, ["batch"])
    entry = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    loss = helper.make_value_info("loss", helper.make_sequence_type_proto(entry))
    nodes = [
        node("Softmax", "logits", "p", axis=1),
        helper.make_node("ZipMap", ["p"], ["loss"], domain="ai.onnx.ml", classlabels_strings=list(LABELS)),
        node("ArgMax", "p", "best", axis=1, keepdims=0),
        helper.make_node(
            "LabelEncoder",
            ["best"],
            ["classLabel"],
            domain="ai.onnx.ml",
            keys_int64s=list(range(NUM_CLASSES)),
            values_strings=list(LABELS),
        ),
    ]
    path = write(tmp_path / "model.onnx", nodes, [names, loss])
    # The class names are in the file.
    backend = OnnxModel(path, transform=TRANSFORM)
    assert backend.classes == LABELS
    np.testing.assert_allclose(backend.probabilities(PIXELS), SOFTMAX, atol=1e-5)
    assert "'loss'" in backend.notes[0]


ULTRALYTICS = (
    ("task", "classify"),
    ("imgsz", f"[{SIDE}, {SIDE}]"),
    ("names", str(dict(enumerate(LABELS)))),
)


def test_a_classifier_of_ultralytics_needs_no_options(tmp_path):
    path = write(tmp_path / "yolo.onnx", *ENDINGS["softmax"][:1], [out("y")], metadata=ULTRALYTICS)
    backend = OnnxModel(path)
    assert backend.classes == LABELS
    assert backend.transform == Transform(SIDE, SIDE, (0, 0, 0), (1, 1, 1))
    assert backend.describe()["activation"] == "none"
    # What a person says wins.
    assert OnnxModel(path, transform=TRANSFORM).transform == TRANSFORM


@pytest.mark.parametrize("names", ["", "{", "{0: __import__('os')}", "[1]", "{1: 'a'}", "{0: ''}", "(" * 10_000])
def test_names_that_mean_nothing_are_passed_over(tmp_path, names):
    path = write(tmp_path / "m.onnx", *ENDINGS["softmax"][:1], [out("y")], metadata=(("names", names),))
    with pytest.raises(UsageError, match="class names"):
        OnnxModel(path, transform=TRANSFORM)


@pytest.mark.parametrize("batch", [1, 4, 16])
@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8])
@pytest.mark.parametrize("channels_last", [False, True])
def test_fixed_batches_types_and_layouts_are_handled_without_the_user(tmp_path, batch, dtype, channels_last):
    path = write(
        *(tmp_path / "m.onnx", [node("Softmax", "logits", "y", axis=1)], [out("y", (batch, NUM_CLASSES))]),
        batch=batch,
        dtype=dtype,
        channels_last=channels_last,
        scale=0.0002 if dtype == TensorProto.UINT8 else SCALE,
    )
    backend = OnnxModel(path, labels=LABELS, transform=TRANSFORM)
    bytes_logits = PIXELS.transpose(0, 3, 1, 2).reshape(6, -1).astype(np.float64) @ weights(0.0002)
    of_bytes = np.exp(bytes_logits) / np.exp(bytes_logits).sum(axis=1, keepdims=True)
    expected = of_bytes if dtype == TensorProto.UINT8 else SOFTMAX
    np.testing.assert_allclose(backend.probabilities(PIXELS), expected, atol=2e-3)


def test_a_file_that_takes_bytes_needs_neither_mean_nor_size(tmp_path):
    path = write(tmp_path / "m.onnx", *ENDINGS["softmax"][:1], [out("y")], dtype=TensorProto.UINT8)
    backend = OnnxModel(path, labels=LABELS, transform=InputOptions(channels="bgr"))
    assert backend.transform.size_px == (SIDE, SIDE)
    other = OnnxModel(path, labels=LABELS, transform=InputOptions(channels="rgb"))
    np.testing.assert_array_equal(backend.probabilities(PIXELS), other.probabilities(PIXELS[..., ::-1]))


def shaped(path, shape, *nodes):
    """A model of another input shape that gives the mean of each channel, as logits."""
    graph = helper.make_graph(
        [*nodes, node("GlobalAveragePool", "x" if nodes else "images", "pooled"), node("Flatten", "pooled", "y")],
        "means",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, list(shape))],
        [out("y", ("batch", "channels"))],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_channels_and_scale_reach_the_model(tmp_path):
    path = shaped(tmp_path / "m.onnx", ("batch", 3, 4, 6))
    options = InputOptions(mean=(1.0, 2.0, 3.0), std=(2.0, 2.0, 2.0), channels="bgr", scale=255)
    backend = OnnxModel(path, labels=("b", "g", "r"), transform=options)
    assert backend.transform.size_px == (4, 6)
    pixels = np.random.default_rng(0).integers(0, 30, (2, 4, 6, 3), dtype=np.uint8)
    means = (pixels.mean(axis=(1, 2))[:, ::-1] - [1, 2, 3]) / 2
    expected = np.exp(means) / np.exp(means).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(backend.probabilities(pixels), expected, atol=1e-4)


def test_a_layout_that_the_shape_does_not_say_is_read_from_the_graph(tmp_path):
    turned = node("Transpose", "images", "x", perm=[0, 3, 1, 2])
    path = shaped(tmp_path / "m.onnx", ("batch", "a", "b", "c"), turned)
    options = InputOptions(mean=(0.0,) * 3, std=(1.0,) * 3, size="4x6")
    backend = OnnxModel(path, labels=("r", "g", "b"), transform=options)
    pixels = np.zeros((1, 4, 6, 3), np.uint8)
    pixels[..., 2] = 255
    assert backend.probabilities(pixels)[0].argmax() == 2


def test_a_file_of_one_channel_gets_grey(tmp_path):
    path = shaped(tmp_path / "m.onnx", ("batch", 1, 4, 4))
    options = InputOptions(mean=(0.5,), std=(0.5,))
    backend = OnnxModel(path, labels=("ink",), transform=options, activation="sigmoid")
    assert backend.transform.channels == "grey"
    white = np.full((1, 4, 4, 3), 255, np.uint8)
    np.testing.assert_allclose(backend.probabilities(white), [[1 / (1 + np.exp(-1))]], atol=1e-5)
    with pytest.raises(UsageError, match="not for grey"):
        OnnxModel(path, labels=("ink",), transform=InputOptions(preset="imagenet"), activation="sigmoid")


@pytest.mark.parametrize(
    ("options", "error", "words", "hint"),
    [
        (InputOptions(mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4)), UsageError, "up to 255", "--scale 255"),
        (InputOptions(mean=(0.5,) * 3, std=(0.5,) * 3, scale=255), UsageError, "up to 1", "--scale 1"),
        (InputOptions(mean=(0.5,), std=(0.5,)), ConfigError, "three numbers", "--mean 0.5,0.5,0.5"),
        (InputOptions(mean=(0.5,) * 3), UsageError, "lacks --std", "--preset"),
        (InputOptions(preset="imagenet"), UsageError, f"{SIDE} x {SIDE}, not 224 x 224", f"--size {SIDE}"),
        (InputOptions(preset="imagenet", scale=255), UsageError, "white at 1", "leave out --scale"),
        (InputOptions(preset="imagenet", channels="grey"), UsageError, "3 channels", "leave out --channels"),
        (InputOptions(preset="imagenet", size="8x"), ConfigError, "not a size", "--size 48x96"),
        (InputOptions(preset="imagenet", size="0"), ConfigError, "not a size", "--size 48x96"),
        (InputOptions(preset="imagenet", size="99999,8"), ConfigError, "16384", "--help"),
    ],
    ids=str,
)
def test_each_hint_leads_on(tmp_path, options, error, words, hint):
    path = write(tmp_path / "m.onnx", *ENDINGS["softmax"][:1], [out("y")])
    with pytest.raises(error, match=words) as caught:
        OnnxModel(path, labels=LABELS, transform=options)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("size", "resize", "expected"),
    [
        ("6", "crop", (6, 6, 6)),
        ("8,6", "crop", (8, 6, 6)),
        ("4x6", "crop", (4, 4, 6)),
        ("5,4x6", "crop", (5, 4, 6)),
        ("4,6", "pad", (4, 4, 6)),
        ("4,6", "squash", (4, 4, 6)),
    ],
)
def test_sizes(tmp_path, size, resize, expected):
    path = shaped(tmp_path / "m.onnx", ("batch", 3, "height", "width"))
    options = InputOptions(preset="imagenet", size=size, resize=resize, pad_rgb=(1, 2, 3), interpolation="box")
    transform = OnnxModel(path, labels=("r", "g", "b"), transform=options).transform
    assert (transform.resize_px, *transform.size_px) == expected
    assert (transform.resize, transform.pad_rgb, transform.interpolation) == (resize, (1, 2, 3), "box")


def test_a_height_and_a_width_that_the_file_has_are_no_resize_and_crop(tmp_path):
    path = shaped(tmp_path / "m.onnx", ("batch", 3, 4, 6))
    transform = OnnxModel(path, labels="rgb", transform=InputOptions(preset="imagenet", size="4,6")).transform
    assert (transform.resize_px, *transform.size_px) == (4, 4, 6)
    with pytest.raises(UsageError, match="4 x 6, not 224 x 224") as caught:
        OnnxModel(path, labels="rgb", transform=InputOptions(preset="imagenet"))
    assert "--size 4x6" in caught.value.hint


def test_presets():
    assert {name: (preset.channels, preset.scale, preset.interpolation) for name, preset in PRESETS.items()} == {
        "imagenet": ("rgb", 1, "bilinear"),
        "imagenet-bicubic": ("rgb", 1, "bicubic"),
        "inception": ("rgb", 1, "bicubic"),
        "caffe": ("bgr", 255, "bilinear"),
        "tf-lite": ("rgb", 255, "bicubic"),
        "clip": ("rgb", 1, "bicubic"),
        "ultralytics": ("rgb", 1, "bilinear"),
    }
    for preset in PRESETS.values():
        assert Transform.from_dict(json.loads(json.dumps(preset.to_dict()))) == preset
    white = np.full((1, 1, 1, 3), 255, np.uint8)
    for name, value in (("inception", 1.0), ("tf-lite", 1.0), ("ultralytics", 1.0)):
        np.testing.assert_allclose(PRESETS[name].normalise_array(white).ravel(), value)
    np.testing.assert_allclose(PRESETS["caffe"].normalise_array(white).ravel(), [151, 138, 132])


def test_the_command_knows_the_same_presets():
    from imgcls.cli.foreign_model import Preset

    assert [each.value for each in Preset] == list(PRESETS)


def with_external_weights(folder: Path, scale: float) -> Path:
    model = ending_in(*ENDINGS["softmax"][:1], [out("y")], scale=scale)
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="m.onnx.data", size_threshold=0)
    return folder / "m.onnx"


def test_the_id_covers_weights_in_a_second_file(tmp_path):
    first = OnnxModel(with_external_weights(tmp_path / "a", SCALE), labels=LABELS, transform=TRANSFORM)
    other = OnnxModel(with_external_weights(tmp_path / "b", 2 * SCALE), labels=LABELS, transform=TRANSFORM)
    same = OnnxModel(with_external_weights(tmp_path / "c", SCALE), labels=LABELS, transform=TRANSFORM)
    assert (tmp_path / "a" / "m.onnx").read_bytes() == (tmp_path / "b" / "m.onnx").read_bytes()
    assert first.id == same.id != other.id
    assert first.describe()["weights_sha256"] != other.describe()["weights_sha256"]
    np.testing.assert_allclose(first.probabilities(PIXELS), SOFTMAX, atol=1e-5)


def test_weights_that_are_not_there_are_named(tmp_path):
    path = with_external_weights(tmp_path / "a", SCALE)
    (tmp_path / "a" / "m.onnx.data").unlink()
    with pytest.raises(ModelError, match=r"in m\.onnx\.data can't be read"):
        OnnxModel(path, labels=LABELS, transform=TRANSFORM)


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname"])
def test_weights_outside_of_the_folder_are_refused(tmp_path, location):
    path = with_external_weights(tmp_path / "a", SCALE)
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="outside of its folder"):
        OnnxModel(path, labels=LABELS, transform=TRANSFORM)


def test_damaged_files_are_model_errors_and_print_nothing(tmp_path, capfd):
    content = ending_in(*ENDINGS["softmax"][:1], [out("y")], scale=SCALE).SerializeToString()
    start = content.index(weights(SCALE).tobytes())
    places = [*range(start), *range(start + weights().nbytes, len(content))]
    random = np.random.default_rng(0)
    path = tmp_path / "m.onnx"
    for _ in range(300):
        damaged = bytearray(content)
        for place in random.choice(places, random.integers(1, 4)):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged[: random.integers(len(damaged))] if random.random() < 0.1 else damaged)
        with contextlib.suppress(ModelError, UsageError):
            OnnxModel(path, labels=LABELS, transform=TRANSFORM).probabilities(PIXELS)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("classes", ["\ud800"] * NUM_CLASSES),
        ("name", "\udfff"),
        ("classes", ["one"]),
        ("classes", []),
        ("transform", {"resize_px": 10**12, "crop_px": 8, "mean": [0] * 3, "std": [1] * 3, "interpolation": "box"}),
        ("recipe", 7),
        ("format_version", 99),
    ],
    ids=str,
)
def test_a_description_that_means_nothing_is_a_model_error(tmp_path, key, value):
    write_own(tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    card = json.loads({entry.key: entry.value for entry in model.metadata_props}["imgcls"])
    del model.metadata_props[:]
    model.metadata_props.add(key="imgcls", value=json.dumps(card | {key: value}))
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"m\.onnx"):
        OnnxModel(tmp_path / "m.onnx")


def test_a_description_that_is_nested_without_end_is_a_model_error():
    with pytest.raises(ModelError, match="damaged"):
        ModelCard.from_json("[" * 100_000, source="m.onnx")
