"""The command line: thin commands over the functions of the package. Imports nothing heavy until a command runs.

Exit codes: 0 done; 1 a run that could not be finished; 2 input or options that cannot be used.
"""

from geoseg.cli.root import main

__all__ = ["main"]
