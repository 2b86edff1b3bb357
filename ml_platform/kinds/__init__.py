"""Kinds of target: what differs between a yes or no, a number, and one of several classes."""
