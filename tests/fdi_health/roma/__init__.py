"""Tests of fdi_health.transport."""
