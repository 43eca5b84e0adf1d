"""An epoch of minibatches, passes forward over a data set, and their products of matrices."""
