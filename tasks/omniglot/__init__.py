"""Characters of unseen scripts, told apart after one look at each; DP 2018."""
