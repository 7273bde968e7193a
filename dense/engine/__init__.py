"""Training and testing: the entry points shared by tools/ and the ``dense`` command."""
