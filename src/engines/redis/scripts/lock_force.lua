-- KEYS: the lock, its record. ARGV: the channel. 1 if it was released, 0 if there is none.
if redis.call('DEL', KEYS[1]) == 0 then return 0 end
redis.pcall('PUBLISH', ARGV[1], string.match(redis.call('GET', KEYS[2]) or '', '^%d+') or '')
return 1
