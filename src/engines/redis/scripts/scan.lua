-- A page of the keys of values. ARGV: the cursor, the pattern, and how many keys to look at.
return redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3], 'TYPE', 'string')
