"""HTTP: what may be asked and shown, requests within limits, downloads that end whole or not at all."""
