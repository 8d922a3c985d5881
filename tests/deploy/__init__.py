"""Deployment packages, manifests and recipes, built and run as the platforms do it."""
