"""Asking a server: `imgcls.Client`, and what `imgcls predict --server` is made of."""
