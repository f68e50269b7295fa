"""The one exception whose message is meant for the person at the command line."""


class UserError(ValueError):
    """Something the user can mend: told in one line, exit code 2, before any long work."""
