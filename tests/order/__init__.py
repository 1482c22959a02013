"""Tests of the room order."""
