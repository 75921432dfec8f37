"""Pictures shown for a while, one of them completed from half; DP 2018, section 4.2."""
