"""From admitted images to records: the queue, decoding, batches, and the models that are served."""
