"""Verbs of the command: each module has HELP, add_arguments(parser) and run(args); imports stay light.

A module whose name begins with an underscore is no verb, verbs share it."""
