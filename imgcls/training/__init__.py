"""The training loop: a network, its pictures and a recipe, to weights."""
