"""Workflows that run: what sets them off, one step after another, and why."""
