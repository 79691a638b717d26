"""`imgcls train`: its options, what a person sees of a run, and the trial of one."""
