"""The figures of an evaluation, and how sure each of them is."""
