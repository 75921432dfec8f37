"""Random patterns of bits, completed from half of them; DP 2018, section 4.1."""
