"""What is saved of a run, when, and how it goes on from it."""
