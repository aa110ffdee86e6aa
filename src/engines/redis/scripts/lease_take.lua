-- KEYS: the key. ARGV: how a dependency set's name begins and ends, a random number, the token, how long it lives
-- in milliseconds, how much of the value is wanted (0 for all), '1' if the value may turn out to depend on further names,
-- and the names that it will depend on. {1, the value's PTTL, its first bytes} if the lease is the caller's now, {0, token, remaining} if it is another's.
local key, token, ttl = KEYS[1], ARGV[4], tonumber(ARGV[5])
local lease = lease_of()
local invalidated = lease and not lives(lease)
if lease and not invalidated then
  return { 0, lease.token, redis.call('PTTL', own) }
end

-- What could fail comes first.
local left, value = redis.call('PTTL', key), false
if left ~= -2 then
  value = redis.pcall('GETRANGE', key, 0, ARGV[6] - 1)
  if type(value) == 'table' then return value end
end
local names = {}
for i = 8, #ARGV do
  if ARGV[i] ~= key then names[#names + 1] = ARGV[i] end
end
local wrong = add_dependents(ttl, KEYS, 1, 1, names, 1, #names)
if wrong then return wrong end

if invalidated then
  drop_lease(lease)
  -- Who loads from this key may have seen what the invalidated one loaded, which is never stored.
  change(key)
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- A stamp that no lease had before: one load may take the leases of many keys.
local new = table.concat({ token, time[1], time[2], redis.sha1hex(key) }, ' ')

-- What crashed leaves its names behind: with each that comes, two are looked at, and go if they have ended.
local some = redis.call('HRANDFIELD', leases, 2 * (#names + 1))
for _, name in ipairs(some) do
  if known(name) <= now then redis.call('HDEL', leases, name) end
end

-- `added`: of which names the key was no dependent before.
local taken = { token = token, names = {}, stamps = {}, added = grown }
local function enter(name)
  local ends, count, stamp = known(name)
  if ends <= now then
    ends, count, stamp = now, 0, new
  end
  know(name, math.max(ends, now + ttl), count + 1, stamp)
  taken.names[#taken.names + 1] = name
  taken.stamps[#taken.names] = stamp
end
enter(key)
for _, name in ipairs(names) do enter(name) end
if ARGV[7] == '1' then
  enter(NAMES.changed)
  taken.mark, taken.refused = NAMES.reserved .. new, refusals()
  redis.call('RPUSH', NAMES.changed, taken.mark)
  if redis.call('PTTL', NAMES.changed) < ttl then redis.call('PEXPIRE', NAMES.changed, ARGV[5]) end
end
if redis.call('PTTL', leases) < ttl then redis.call('PEXPIRE', leases, ARGV[5]) end
redis.call('SET', own, cmsgpack.pack(taken), 'PX', ARGV[5])
tidy(ARGV[3])
return { 1, left, value }
