"""How the demo looks: its views, and the pieces, style and keys that they are made of."""
