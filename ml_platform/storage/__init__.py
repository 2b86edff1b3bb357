"""Where things are kept: the lake (immutable objects), the ledger (what happened) and the clocks."""
