"""Decoding what may run away in a process that can be killed."""
