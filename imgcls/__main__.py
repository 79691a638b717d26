"""`python -m imgcls`, and the `imgcls` command."""

from imgcls.cli.process import startup


def main() -> None:
    """Entry point of both."""
    startup.begin()
    from imgcls.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
