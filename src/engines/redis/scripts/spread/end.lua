-- Ends a lease without storing a value. KEYS: the slot's leases, and the loads that name the key. ARGV: the key, the lease,
-- and what was given out that is not stored: '' for nothing, 'FREE' for a value without names, 'TIED' for one with names. Returns
-- the loads that name the key and may have read something that is too old by now, or may be soon.
local lease, ends = string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '', '^(%S+) (%d+)')
local is_mine = lease == ARGV[2]
if is_mine then
  redis.call('HDEL', KEYS[1], ARGV[1])
  announce(KEYS[1], ARGV[1])
end
if ARGV[3] == 'TIED' or (ARGV[3] == 'FREE' and not (is_mine and tonumber(ends) > now)) then
  return watchers_of(KEYS[2])
end
return {}
