"""Tests of HPS Platform."""
