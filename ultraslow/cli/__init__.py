"""The command line: a module a command, named as the command. `app.main` is the entry point."""
