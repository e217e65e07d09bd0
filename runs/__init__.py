"""What every run needs: its directory, atomic writes, a log, progress, provenance, interrupts and exit codes. Needs `schema` alone."""
