"""What the outputs of a network mean: class names, several labels, calibration."""
