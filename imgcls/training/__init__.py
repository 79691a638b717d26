"""The training loop: a network, its images and a recipe, to weights."""
