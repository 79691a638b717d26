"""Training with a frozen backbone, then with all weights."""
