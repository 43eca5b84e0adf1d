"""The exit codes of the command."""

# After an error, after a call that names no command or option, and after Ctrl-C, as shells have it.
FAILED, MISUSED, INTERRUPTED = 1, 2, 130
