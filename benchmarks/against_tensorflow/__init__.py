"""The trainer beside Keras: see ``__main__``."""
