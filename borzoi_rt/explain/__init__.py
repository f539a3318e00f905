"""Explanation: which bases drive a number that is made of predicted coverage."""
