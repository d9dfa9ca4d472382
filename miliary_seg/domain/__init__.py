"""The nouns of the program: frozen values that every stage speaks in. No file format, no algorithm."""
