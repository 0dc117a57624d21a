"""greylag: greylisting for qmail and for every mail server that can ask at RCPT time."""

__version__ = "1.0.0"
