"""`python -m cogvae_cli` is the command `cogvae`."""

from __future__ import annotations

import sys

from cogvae_cli.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
