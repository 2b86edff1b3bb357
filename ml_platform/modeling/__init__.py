"""Training, calibration, evaluation, gates and bundles of models: tables in, plain values out."""
