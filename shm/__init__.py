"""The bytes that processes share: rings of slots in POSIX shared memory.

The lowest layer: it knows nothing of video and imports nothing of ``workers`` or ``farm``.  It
hands out memoryviews; whoever wants arrays wraps them.
"""
