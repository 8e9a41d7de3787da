"""Tests of the metric families and their wire format."""
