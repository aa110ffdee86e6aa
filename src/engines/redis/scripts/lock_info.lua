-- KEYS: the lock, its record. {remaining, token}, or 0 if there is none.
if not redis.call('GET', KEYS[1]) then return 0 end
return { redis.call('PTTL', KEYS[1]), string.match(redis.call('GET', KEYS[2]) or '', '^%d+') or '0' }
