"""A model's ONNX twin: the same network for ONNX Runtime, made, checked and kept by itself; faster on a CPU."""
