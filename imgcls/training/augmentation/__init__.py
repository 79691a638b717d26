"""What the network is trained on: random changes of each batch."""
