import re

import numpy as np
import pandas as pd
import pytest

from ml_platform.errors import IntegrityError, NotReadyError
from ml_platform.monitoring.evidently_report import evidently_html


def parcels(shift: float, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "weight": rng.normal(shift, 1, 1200),
            "rain": rng.normal(0, 1, 1200),
            "empty": np.full(1200, np.nan),
            "depot": pd.array(rng.choice(["north", "south"], 1200), dtype="string"),
        }
    )


def test_the_page_is_whole_and_names_the_column_that_moved() -> None:
    report = evidently_html(parcels(0, 1), parcels(1, 2), ["weight", "rain", "empty"], ["depot"])
    assert {c.name: c.drifted for c in report.columns} == {"weight": True, "rain": False, "depot": False}
    assert report.share_drifted == pytest.approx(1 / 3)
    assert report.left_out == ("empty",)
    assert b"<html" in report.html
    assert re.findall(rb'(?:src|href)\s*=\s*"https?://[^"]+\.(?:js|css)"', report.html) == []


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(NotReadyError, match="nothing to compare"):
        evidently_html(parcels(0, 1), parcels(0, 2), ["empty"], [])
    with pytest.raises(IntegrityError, match="height"):
        evidently_html(parcels(0, 1), parcels(0, 2), ["height"], [])
