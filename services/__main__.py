"""`python -m services` is `tokenline`."""

from services.cli.main import main

main()
