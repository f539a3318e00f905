"""Scripts that print ratios against peers, measured in one run, with the hardware in the output."""
