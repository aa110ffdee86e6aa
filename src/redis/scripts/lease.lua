-- What scripts know of leases. KEYS[1] is the key that is loaded.
--
-- For each name that a lease has, its own key among them, there is a hash: from tokens to when they end, in
-- milliseconds by this server's clock, no other. A lease lives while its token is in the hashes of all its
-- names, so that a name's change kills all leases that have it by removing one hash. The hash of the key that
-- is loaded has beside them, as `flight`, who loads it.
local lease, own = 'cachestore:lease:{', 'cachestore:lease:{' .. KEYS[1] .. '}'

local function time_now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Whether a token is in the hashes of the key and of the names from `first` on, and has not ended.
local function lives(now, token, names, first)
  local function has(hash)
    local ends = redis.call('HGET', hash, token)
    return ends and tonumber(ends) > now
  end
  if not has(own) then return false end
  for i = first, #names do
    if not has(lease .. names[i] .. '}') then return false end
  end
  return true
end

-- Who loads the key: a token, when it ends, and its names.
local function flight_of()
  local packed = redis.call('HGET', own, 'flight')
  return packed and cmsgpack.unpack(packed)
end

-- Takes a token out of all its hashes.
local function forget(token, names, first)
  local flight = flight_of()
  if flight and flight.token == token then redis.call('HDEL', own, 'flight') end
  redis.call('HDEL', own, token)
  for i = first, #names do
    redis.call('HDEL', lease .. names[i] .. '}', token)
  end
end

-- Whoever loads the key from now on. `ends` is when, `left` how long until then.
local function enter_flight(token, ends, left, names)
  redis.call('HSET', own, token, string.format('%.0f', ends))
  redis.call('HSET', own, 'flight', cmsgpack.pack({ token = token, ends = ends, names = names }))
  if redis.call('PTTL', own) < left then redis.call('PEXPIRE', own, string.format('%.0f', left)) end
end

-- Who may not publish may still end a lease.
local function announce()
  redis.pcall('PUBLISH', own, '')
end
