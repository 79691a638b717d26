"""`imgcls predict`: the command, and one file per group of its options."""
