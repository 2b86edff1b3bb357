"""Where the generic incidents of a drill strike here; see ml_platform.lifecycle.drills.mapping.

No line of the feed is an outcome: whether a customer bought, and for how much, is a matter of 90 days. So
the incidents that turn one outcome into another cannot be expressed on raw rows. Amounts can grow, which is
a prior shift of the spend.
"""

from __future__ import annotations

from datetime import date

DRILLS = {
    # Dollars become cents.
    "unit": {"feed": "purchases", "columns": ["value_usd"], "factor": 100},
    "nulls": {"feed": "purchases", "columns": ["value_usd"]},
    "benign": {"feed": "purchases", "columns": ["cds"], "step": 1},
    "outcome": "purchases",
    "amount": {"feed": "purchases", "columns": ["value_usd"]},
    "unsuited": {
        "buys_again/prior_shift": "no line of the feed is an outcome: a purchase that was not made has none",
        "concept_drift": "no line of the feed is an outcome; and as 13 weeks are one block, P(y|x) is unseen",
    },
    # Where weeks change places, spend no longer follows from earlier spend: the gates refuse every champion.
    "in_order": ["customer_spend"],
    "skewed": ["mean_value_usd", "mean_cds"],
    # Until the end of March customers are acquired; weeks after that may change places.
    "permuted_from": date(1997, 4, 7),
    "first": date(1997, 12, 15),
}
