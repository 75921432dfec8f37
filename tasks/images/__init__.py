"""Pictures that are memorized, then completed from one half; DP 2018, section 4.2."""
