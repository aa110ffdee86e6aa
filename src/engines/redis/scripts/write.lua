-- KEYS: the entry. ARGV: how a dependency set's name begins and ends, a random number, the value, the TTL in
-- milliseconds or '', the condition ('NX', 'XX', 'EQ', 'GET', or 'LEASE'), what 'EQ' expects or the token of
-- 'LEASE', and the names that the entry depends on. 1 if it was written, 0 if the condition did not hold. With 'GET',
-- which always holds, the value that there was.
-- 'NX' and 'XX' are those of `SET`, but for loaded values whose life is over: they count as absent.
local key, seed, value, ttl, condition = KEYS[1], ARGV[3], ARGV[4], ARGV[5], ARGV[6]

local names = {}
for i = 8, #ARGV do names[i - 7] = ARGV[i] end
local lease = condition == 'LEASE' and lease_of()
local alive = lease and may_store(lease)
local mine = lease and lease.token == ARGV[7]
if alive and mine and may_have_changed(lease, late_names(lease, names)) then alive = false end
if condition == 'LEASE' and not (alive and mine) then
  disown(lease, alive, names)
  announce()
  return 0
end
local held
if condition == 'EQ' or condition == 'GET' then
  held = redis.pcall('GET', key)
  if type(held) == 'table' and held.err then return held end
  if condition == 'EQ' and held ~= ARGV[7] then return 0 end
end
if (condition == 'NX' or condition == 'XX') and is_vacant(key) ~= (condition == 'NX') then return 0 end

local wrong = add_dependents(tonumber(ttl), KEYS, 1, 1, names, 1, #names)
if wrong then return wrong end
if ttl == '' then
  redis.call('SET', key, value)
else
  redis.call('SET', key, value, 'PX', ttl)
end

-- The value comes first: a server that is full refuses it only as long as the script has changed nothing.
if lease then
  drop_lease(lease)
  announce()
else
  change(key)
end
tidy(seed)
if condition == 'GET' then return held end
return 1
