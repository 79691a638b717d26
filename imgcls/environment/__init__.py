"""The probes behind `imgcls env-check`."""
