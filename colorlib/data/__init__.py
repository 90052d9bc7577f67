"""Where pictures come from: the world, the photographs, and folders of your own; and masks for them."""

from . import masks
from .folder import Folder
from .law import Law, Palette
from .photographs import photos
from .pictures import pages, picture_files, read
from .scene import Scene
from .world import World

__all__ = ["Folder", "Law", "Palette", "Scene", "World", "masks", "pages", "photos", "picture_files", "read"]
