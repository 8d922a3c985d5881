"""Tests of fdi_health.credentials."""
