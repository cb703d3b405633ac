"""`python -m selfattn_bio` is the command `selfattn-bio`."""

import sys

from selfattn_bio.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
