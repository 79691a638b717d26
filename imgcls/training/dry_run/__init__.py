"""What a run would take, before it takes it."""
