"""Measurements that the README quotes. Ratios are of one run."""
