"""One-shot classification of characters from unseen scripts; DP 2018."""
