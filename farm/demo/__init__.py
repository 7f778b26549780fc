"""The drawn demo avatar: a pleasant person whose template frames come from code.

Read ``avatar.py`` first: it puts together what ``motion.py`` moves and the others draw, all of it
with the shapes of ``layers.py``.  No camera, no download, no identity to ask for permission.
"""
