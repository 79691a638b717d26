"""From what the user typed to a stream of inputs: files, folders, patterns, lists, URLs, standard input."""
