"""The command line's commands, a module each: it reads its arguments, calls, and prints."""
