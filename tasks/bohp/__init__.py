"""Completion, one-shot and reversal learning with one plastic layer; BOHP 2016."""
