"""Classifying images: inputs in, records out."""
