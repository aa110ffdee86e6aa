-- KEYS: the lock, its record. ARGV: the channel. 1 if it was released, 0 if there is none.
if redis.call('DEL', KEYS[1]) == 0 then return 0 end
local token = string.match(redis.call('GET', KEYS[2]) or '', '^%d+')
if token then
  -- By a higher token, the holder of the lock is told apart from a lock that a new primary does not know.
  token = string.format('%.0f', token + 1)
  redis.call('SET', KEYS[2], token, 'KEEPTTL')
end
redis.pcall('PUBLISH', ARGV[1], token or '')
return 1
