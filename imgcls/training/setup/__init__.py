"""What is made ready before a run's first step: checks, images, weights, the network."""
