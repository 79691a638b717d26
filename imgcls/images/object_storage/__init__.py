"""Object storage as inputs and outputs: S3 and its kin, Google Cloud Storage, Azure, Hugging Face."""
