"""Verbs of the command: each module has HELP, add_arguments(parser) and run(args); imports stay light."""
