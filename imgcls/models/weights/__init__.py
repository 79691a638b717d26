"""Trained weights: published files, state_dicts that people saved elsewhere, and what a run begins with."""
