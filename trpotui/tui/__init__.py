"""The app: pick, train, watch the trust region, play.

The screen is one thread, training another. What passes between them is a bounded queue of events
one way (`session`), and the run's `Control` the other way. Widgets publish what the person wants as
messages (`messages`); only the screens' handlers change anything.
"""
