"""What Typer prints for imgcls: help, completion, wrong usage; and options grouped into dataclasses."""
