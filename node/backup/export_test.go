package backup

// Leaves lets tests ask one history alone.
func Leaves(h History, m Manifest) bool { return h.leaves(m) }
