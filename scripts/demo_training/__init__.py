"""How the demo model is made: speech, mouths, networks, training, measuring.

Read in the order of the data: sentences, speech, visemes, corpus, networks, listening (stage 1),
targets, painting (stage 2), export; ``measuring.py`` is the gate's.
"""
