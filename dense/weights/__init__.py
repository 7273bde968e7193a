"""Weights: safe reading and writing, and the small models that are shipped."""
