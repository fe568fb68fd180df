"""The command line: one thin file a command; each declares its options, calls one pipeline function and prints."""
