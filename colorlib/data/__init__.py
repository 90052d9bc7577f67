"""Where pictures come from: the world, the photographs, and folders of your own."""

from .folder import Folder, picture_files, read
from .law import Law, Palette
from .photographs import photos
from .world import Scene, World

__all__ = ["Folder", "Law", "Palette", "Scene", "World", "photos", "picture_files", "read"]
