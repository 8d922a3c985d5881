"""Tests of fdi_health.vaults."""
