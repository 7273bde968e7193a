"""``python -m dense`` is the ``dense`` command."""
import sys

from dense.cli import main

sys.exit(main())
