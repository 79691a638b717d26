"""`imgcls eval`: its options, and its answer as a table."""
