"""Measurements that the README and the issues quote; each prints ratios of one run."""
