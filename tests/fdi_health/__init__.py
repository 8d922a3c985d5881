"""Tests of fdi_health."""
