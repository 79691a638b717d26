"""What is wrong with a data set: images that are no use, copies, leaks between splits, wrong labels, shortcuts."""
