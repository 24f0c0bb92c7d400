"""The extraction program against strangers: their archives, their registries, and full disks."""
