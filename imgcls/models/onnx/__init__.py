"""Models in ONNX files; nothing here imports torch but `network.py`."""
