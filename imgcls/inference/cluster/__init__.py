"""One run over many processes and machines, on Ray: blocks of inputs become parts of an output, whatever fails."""
