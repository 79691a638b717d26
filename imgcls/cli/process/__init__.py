"""The process behind a command: its signals, its end, and what the machine below it can get wrong."""
