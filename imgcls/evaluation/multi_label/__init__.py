"""Measuring models that answer several labels per image."""
