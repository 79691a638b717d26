"""`imgcls serve`: a trained model behind HTTP."""
