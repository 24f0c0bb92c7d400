"""GKM brings packed GPU kernel caches, complete and verified, to the pods that need them."""
