"""Label arrival, live performance, drift, and the evidence that a later diagnosis needs."""
