"""`python -m selfattn_bio` is the command `selfattn-bio`."""

import signal
import sys


def start() -> int:
    """Import and run the command; Ctrl-C ends the imports without a traceback."""
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:  # not ignored, as with nohup
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from selfattn_bio.cli.main import main

    signal.signal(signal.SIGINT, usual)
    return main()


if __name__ == "__main__":
    sys.exit(start())
