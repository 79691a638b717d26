"""`imgcls tune`: its options, and what a person sees of a study."""
