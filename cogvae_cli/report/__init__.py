"""Measuring a finished round trip."""
