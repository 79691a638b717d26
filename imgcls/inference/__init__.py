"""Classifying pictures: inputs in, records out."""
