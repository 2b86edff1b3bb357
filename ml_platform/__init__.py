"""An ML lifecycle platform on Dagster that finds the cause before it retrains."""

import gc

# The libraries make a million objects that live as long as the process. Python's own pace (700 allocations),
# made for small programs, searches them for cycles over and over: an eighth of the time of all imports.
if gc.get_threshold()[0] == 700:
    gc.set_threshold(50_000, 10, 10)
