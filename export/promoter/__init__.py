"""The promoter system in the torch world: penalties, losses, data, training, consensus, export."""
