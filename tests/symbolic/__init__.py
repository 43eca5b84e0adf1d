"""Tests of the reading with symbols."""
