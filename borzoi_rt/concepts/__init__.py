"""Named concepts, as motifs and annotations, and what a network does with them."""
