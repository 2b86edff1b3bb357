"""From a feed's reader to immutable, bitemporal history: landing and merging, without any contract."""
