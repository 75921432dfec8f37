"""Repeating a series of numbers after a delay; Duan et al. 2023."""
