"""`python -m functional_mlp`: the command `functional-mlp`."""

import sys

from functional_mlp.cli import main

if __name__ == "__main__":
    sys.exit(main())
