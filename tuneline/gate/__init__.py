"""The gate: is the candidate proven better, proven not better, or is it not known yet?"""
