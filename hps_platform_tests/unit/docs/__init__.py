"""Tests that documents say what is there."""
