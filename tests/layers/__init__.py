"""Tests of the layers, file by file."""
