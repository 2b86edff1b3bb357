"""The command line: ``ml-platform …``. Each command imports what it needs when it runs."""

from __future__ import annotations

from ml_platform.cli.main import main

__all__ = ["main"]
