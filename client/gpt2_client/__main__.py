"""`python -m gpt2_client`: the command line."""

import sys

from gpt2_client.cli.main import main

sys.exit(main())
