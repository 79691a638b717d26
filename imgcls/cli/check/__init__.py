"""`imgcls check`: its options, and its answer as a table."""
