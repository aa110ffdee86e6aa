-- KEYS: the lock, its fence. ARGV: the secret, the TTL in milliseconds, how long the fence is remembered
-- in milliseconds, '1' if a free lock is to be left free, and the channel.
-- {1, fence, renewed} if the lock is the caller's, {0, remaining, fence} if it is another's, {2} if it is left free.
local held = redis.call('GET', KEYS[1])
local last = redis.call('GET', KEYS[2])
if held and held ~= ARGV[1] then
  return { 0, redis.call('PTTL', KEYS[1]), last or '0' }
end
if not held and ARGV[4] == '1' then return { 2 } end
local fence = last
if not (held and last) then
  -- The time in microseconds, so that fences grow also after the last one was forgotten.
  local time = redis.call('TIME')
  local new = time[1] * 1000000 + time[2]
  if last and tonumber(last) >= new then new = tonumber(last) + 1 end
  fence = string.format('%.0f', new)
end
local before = held and redis.call('PTTL', KEYS[1]) or 0
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[2], fence, 'PX', ARGV[3])
-- Who sleeps until the end that the lock had before is told that it comes sooner.
if before > tonumber(ARGV[2]) then redis.pcall('PUBLISH', ARGV[5], '') end
return { 1, fence, held and 1 or 0 }
