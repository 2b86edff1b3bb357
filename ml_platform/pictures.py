"""Figures as bytes."""

from __future__ import annotations

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def png(figure: Figure) -> bytes:
    """PNG bytes without a date or version, so that the same data give the same picture."""
    buffer = io.BytesIO()
    # The same bytes as `savefig`, which draws a figure that has a layout twice.
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue()
