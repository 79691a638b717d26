"""Searching for a recipe: a space of settings, a study of trials in its folder, and the best recipe as a file."""
