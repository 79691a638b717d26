"""Classifying pictures: streams in, records out."""
