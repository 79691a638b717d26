"""Where networks come from: one file a family, each behind the interface in `family.py`; `registry.py` lists them."""
