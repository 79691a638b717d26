"""`python -m imgcls`, the same as the `imgcls` command."""

from imgcls.cli.app import main

if __name__ == "__main__":
    main()
