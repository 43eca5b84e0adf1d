"""An epoch of single samples, and its products of matrices with vectors."""
