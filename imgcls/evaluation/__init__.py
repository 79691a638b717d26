"""Measuring a model on a labelled data set."""
