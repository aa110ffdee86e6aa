-- KEYS: the key. ARGV: the token, and its names.
forget(ARGV[1], ARGV, 2)
announce()
return 1
