"""Runs: a plan of numbered jobs, a journal of their results, and the output that appears whole.

A job's result is a function of the plan and its number, so that a run may be stopped anywhere, continued by another
process, or spread over several, and gives the same bytes.
"""
