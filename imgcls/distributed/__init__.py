"""Several processes as one: launch, process group, data parallel."""
