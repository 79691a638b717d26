"""The servers that imgcls is compared with, as their users write them; `benchmarks/serving.py` starts them.

    python benchmarks/serving_others.py flask|fastapi|litserve MODEL PORT

MODEL is `resnet18` (random weights, PyTorch), `efficientnet-lite0` (PyTorch), or an ONNX file of one of them.
"""

import io
import json
import sys

import numpy as np
from PIL import Image

KIND, MODEL, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])
IS_LITE = "lite0" in MODEL
MEAN, STD = ([127 / 255] * 3, [128 / 255] * 3) if IS_LITE else ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def decode(content):
    """Bytes to the network's input, as the preset says."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    scale = 256 / min(image.size)
    size = [int(side * scale) if side > min(image.size) else 256 for side in image.size]
    image = image.resize(size, Image.Resampling.BICUBIC if IS_LITE else Image.Resampling.BILINEAR)
    left, top = (size[0] - 224) // 2, (size[1] - 224) // 2
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) / 255
    return ((pixels - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1).astype(np.float32)


def load():
    """What turns a batch of inputs into probabilities."""
    if MODEL.endswith(".onnx"):
        import onnxruntime

        session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda batch: softmax(session.run(None, {name: batch})[0])
    import torch

    if IS_LITE:
        from imgcls.models.loading import load_model

        network = load_model("efficientnet-lite0").network.eval()
    else:
        from torchvision.models import resnet18

        torch.manual_seed(0)
        network = resnet18(weights=None).eval()

    @torch.inference_mode()
    def classify(batch):
        return network(torch.from_numpy(batch)).softmax(1).numpy()

    return classify


def softmax(logits):
    """Of each row."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def answer(probabilities):
    """The five most probable classes."""
    top = np.argsort(-probabilities)[:5]
    return {"predictions": [{"class_id": int(each), "probability": float(probabilities[each])} for each in top]}


def serve_flask():
    """The tutorial's script: one request at a time through the network, a thread for each."""
    from flask import Flask, jsonify, request

    classify, app = load(), Flask(__name__)

    @app.post("/v1/predict")
    def predict():
        return jsonify(answer(classify(decode(request.get_data())[None])[0]))

    app.run("127.0.0.1", PORT, threaded=True)


def serve_fastapi():
    """FastAPI without batches: each request in a thread of its pool."""
    import uvicorn
    from fastapi import FastAPI, Request
    from starlette.concurrency import run_in_threadpool

    classify, app = load(), FastAPI()

    @app.post("/v1/predict")
    async def predict(request: Request):
        content = await request.body()
        return await run_in_threadpool(lambda: answer(classify(decode(content)[None])[0]))

    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="error", access_log=False)


if KIND == "litserve":
    # Its worker process imports this file anew.
    import litserve
    from fastapi import Request, Response

    class Api(litserve.LitAPI):
        """LitServe's hooks; decoding is the worker's, so that the server's only process is free for others."""

        def setup(self, device):
            self.classify = load()

        def decode_request(self, request: Request):
            # It takes forms and JSON, no raw images.
            return request["file"].file.read()

        def batch(self, inputs):
            return np.stack([decode(each) for each in inputs])

        def predict(self, inputs):
            return self.classify(inputs)

        def unbatch(self, output):
            return list(output)

        def encode_response(self, output):
            return Response(json.dumps(answer(output)), media_type="application/json")


def serve_litserve():
    """LitServe with batches."""
    api = Api(max_batch_size=int(sys.argv[4]), batch_timeout=float(sys.argv[5]), api_path="/v1/predict")
    litserve.LitServer(api, accelerator="cpu", workers_per_device=1).run(
        host="127.0.0.1", port=PORT, log_level="error", generate_client_file=False
    )


if __name__ == "__main__":
    {"flask": serve_flask, "fastapi": serve_fastapi, "litserve": serve_litserve}[KIND]()
