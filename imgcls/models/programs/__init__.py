"""Networks in `.pt2` files: torch.export programs, and AOTInductor packages of native code."""
