"""An epoch of many networks at once."""
