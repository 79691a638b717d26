"""A model as a static web site that classifies images in the visitor's browser."""
