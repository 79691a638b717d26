"""Archives as inputs: their members, one after the other, without unpacking anything."""
