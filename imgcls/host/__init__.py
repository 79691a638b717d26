"""What every command shares: devices, transforms, checkpoints, files and weights on disk."""
