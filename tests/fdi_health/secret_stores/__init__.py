"""Tests of fdi_health.secret_stores."""
