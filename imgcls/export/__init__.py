"""Writing a model as ONNX or as a torch.export program, and proving that it still gives the same answers."""
