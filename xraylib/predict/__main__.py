"""Command line: python -m xraylib.predict IMAGES [--output predictions.csv]."""

import sys

from xraylib.predict.films import main

if __name__ == "__main__":
    sys.exit(main())
