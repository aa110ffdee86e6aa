-- KEYS: the lock, its record. ARGV: the secret, the TTL in milliseconds, how long the record is kept in
-- milliseconds, '1' if a free lock is to be left free, the channel, a channel that nobody subscribes to, and
-- the highest token that the caller has seen.
-- {1, token, renewed, announces} if the lock is the caller's, {0, remaining, token, announces} if it is another's,
-- {2} if it is left free. `announces` is 1 if the holder announces its release.
--
-- The record is the last fencing token, and behind it the tag of the holder's secret if the holder may publish. A
-- holder of another program, or one who may not publish, has no tag there: its waiters poll.
local function tag(secret) return ' ' .. string.sub(redis.sha1hex(secret), 1, 8) end

local held = redis.call('GET', KEYS[1])
local record = redis.call('GET', KEYS[2]) or ''
local last = string.match(record, '^%d+')
local announces = held and last and record == last .. tag(held)
if held and held ~= ARGV[1] then
  return { 0, redis.call('PTTL', KEYS[1]), last or '0', announces and 1 or 0 }
end
if not held and ARGV[4] == '1' then return { 2 } end
local token = last
-- A new primary may know an earlier hold of this secret alone. Its token is lower than what the caller has seen.
local is_new = not (held and last) or tonumber(last) < tonumber(ARGV[7])
if is_new then
  -- The time in microseconds, so that tokens grow also after the last one was forgotten by all.
  local time = redis.call('TIME')
  local new = time[1] * 1000000 + time[2]
  new = math.max(new, tonumber(last or 0) + 1, tonumber(ARGV[7]) + 1)
  token = string.format('%.0f', new)
  record = token
  announces = (last or not held) and type(redis.pcall('PUBLISH', ARGV[6], '')) == 'number'
  if announces then record = token .. tag(ARGV[1]) end
end
local before = held and redis.call('PTTL', KEYS[1]) or 0
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[2], record, 'PX', ARGV[3])
-- A waiter that sleeps until the end that the lock had before is told that it comes sooner.
if before > tonumber(ARGV[2]) then redis.pcall('PUBLISH', ARGV[5], '') end
return { 1, token, held and 1 or 0, announces and 1 or 0 }
