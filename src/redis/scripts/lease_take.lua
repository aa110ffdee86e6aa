-- KEYS: the key. ARGV: the token, how long it lives in milliseconds, how much of the value is wanted, and the
-- names that the value will depend on. {1, the value's PTTL, its first bytes} if the lease is the caller's
-- now, {0, token, remaining} if it is another's.
local token, ttl, now = ARGV[1], tonumber(ARGV[2]), time_now()
local flight = flight_of()
if flight and flight.ends > now and lives(now, flight.token, flight.names, 1) then
  return { 0, flight.token, flight.ends - now }
end

local left, value = redis.call('PTTL', KEYS[1]), false
if left ~= -2 then
  value = redis.pcall('GETRANGE', KEYS[1], 0, ARGV[3] - 1)
  if type(value) == 'table' then return value end
end

if flight then
  forget(flight.token, flight.names, 1)
  -- It was killed, and who loads from this key may have seen what it loaded, which is never stored.
  if flight.ends > now then redis.call('UNLINK', own) end
end

-- What crashed leaves its tokens behind: a hash that is in use is rid of them, a few each time.
local function sweep(hash)
  local some = redis.call('HRANDFIELD', hash, 2, 'WITHVALUES')
  for i = 1, #some, 2 do
    if some[i] ~= 'flight' and tonumber(some[i + 1]) <= now then redis.call('HDEL', hash, some[i]) end
  end
end

local names = {}
for i = 4, #ARGV do
  local hash = lease .. ARGV[i] .. '}'
  names[i - 3] = ARGV[i]
  sweep(hash)
  redis.call('HSET', hash, token, string.format('%.0f', now + ttl))
  if redis.call('PTTL', hash) < ttl then redis.call('PEXPIRE', hash, ARGV[2]) end
end
sweep(own)
enter_flight(token, now + ttl, ttl, names)
return { 1, left, value }
