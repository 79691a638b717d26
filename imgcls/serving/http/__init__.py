"""What stands between a socket and an answer: limits, authorization, request bodies, logs."""
