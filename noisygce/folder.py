"""The name under which configs and run ids know ``noisygce.data.Folder``."""

from noisygce.data.folder import Folder as Folder
