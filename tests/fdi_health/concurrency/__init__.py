"""Tests of fdi_health.concurrency."""
