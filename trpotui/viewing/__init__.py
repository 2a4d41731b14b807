"""What every view of a policy shares: an episode that can be stepped back, and what it shows.

Nothing here knows a screen, and importing it imports neither pygame nor torch.
"""
