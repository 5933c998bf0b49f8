#!/usr/bin/env python
"""tuneline's one door. ``python run.py --help`` lists what is behind it; without a command it does the main job."""

from cli.app import main

if __name__ == "__main__":
    main()
