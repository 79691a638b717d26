"""From a name to a network with weights, class names and its transform."""
