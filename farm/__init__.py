"""What decides and speaks to the world: the command line, media files, the avatars on disk."""
