"""Images into folders by their class, and back."""
