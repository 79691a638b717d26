"""`imgcls compare`: runs beside each other, or two models on the same images."""
