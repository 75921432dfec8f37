"""Completion, one-shot and reversal learning of one plastic layer; BOHP 2016."""
