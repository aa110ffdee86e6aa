-- KEYS: the lock, its record. ARGV: the secret, the TTL in milliseconds, how much longer the record is kept in
-- milliseconds, the token of the hold, and a channel that nobody subscribes to. 1 if the lock is held so, 2 if it was
-- free and is held so again, -1 if it is another's, or another has held it since.
--
-- The lock is never shortened: other holders of the same secret may have extended it. Its token stays.
local held = redis.call('GET', KEYS[1])
local record = redis.call('GET', KEYS[2]) or ''
local last = string.match(record, '^%d+')
if held and held ~= ARGV[1] then return -1 end
if last and tonumber(last) > tonumber(ARGV[4]) then return -1 end
local ttl = math.max(tonumber(ARGV[2]), held and redis.call('PTTL', KEYS[1]) or 0)
local lock_ttl = string.format('%.0f', ttl)
local record_ttl = string.format('%.0f', ttl + tonumber(ARGV[3]))
if held and last == ARGV[4] then
  -- A server whose memory is full carries these out too.
  redis.call('PEXPIRE', KEYS[1], lock_ttl)
  redis.call('PEXPIRE', KEYS[2], record_ttl)
  return 1
end
record = ARGV[4]
-- As lock_acquire.lua does: the tag of the secret, if its holder may publish.
if type(redis.pcall('PUBLISH', ARGV[5], '')) == 'number' then
  record = record .. ' ' .. string.sub(redis.sha1hex(ARGV[1]), 1, 8)
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', lock_ttl)
redis.call('SET', KEYS[2], record, 'PX', record_ttl)
return held and 1 or 2
