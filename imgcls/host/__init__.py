"""The machine: cores, memory and their limits; devices; whole-file writes and digests; cache folders; HTTP."""
