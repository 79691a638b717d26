"""How weights move: the optimizers, what they decay, and the learning rate of each step."""
