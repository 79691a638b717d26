"""One image: where it comes from, decoding, transform."""
