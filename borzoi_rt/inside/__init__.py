"""What lies inside the network: activations, slopes by them, attention, and maps made of these."""
