"""Confidences that mean something: fitted, measured, and sets of labels with a guarantee."""
