"""The probes behind `imgcls env-check`.

`check.check_environment` runs them all. None of them imports torch into the process that asks: that, and every touch of
a device, happens in a second process, so that a broken installation or a crashing driver becomes a line of the report.
"""
