"""What a training run tells and leaves behind: its events, its folder, and what is read and drawn from them."""
