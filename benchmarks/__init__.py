"""Benchmarks of speed and memory: ``python -m benchmarks.run`` from the project's root.

Every comparison is measured side by side in one run. The folder is not installed, and no benchmark
fails because of its result.
"""
