"""Data contracts: ODCS v3 in, Great Expectations run once, accepted, quarantined and held rows out."""
