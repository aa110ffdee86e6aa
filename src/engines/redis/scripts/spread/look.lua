-- KEYS: the slot's kills and, for an intent, its intents. ARGV: a fresh stamp and, for an intent, the key and the token.
-- {the stamp, the time}.
--
-- A writer's intent is its token in the hash of intents. An invalidation of its key removes all tokens of the key.
local stamp = stamp_of(KEYS[1], ARGV[1])
if KEYS[2] then
  local tokens = redis.call('HGET', KEYS[2], ARGV[2])
  redis.call('HSET', KEYS[2], ARGV[2], tokens and tokens .. ' ' .. ARGV[3] or ARGV[3])
  redis.call('PEXPIRE', KEYS[2], 600000)
end
return { stamp, now }
