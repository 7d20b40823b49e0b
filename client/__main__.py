"""`python -m client`: the command line."""

import sys

from client.cli import main

sys.exit(main())
