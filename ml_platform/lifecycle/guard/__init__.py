"""Guarded retraining: gather evidence, diagnose, give a verdict, carry it out, reckon what it was worth."""
