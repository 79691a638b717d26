"""Recipes: what a training run is asked to do, from files and flags to checked, resolved values and back."""
