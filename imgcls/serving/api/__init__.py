"""The endpoints: what each takes and answers."""
