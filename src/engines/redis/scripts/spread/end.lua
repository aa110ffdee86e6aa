-- Ends a lease without storing a value. KEYS: the slot's leases, and the loads that name the key. ARGV: the key, the lease,
-- and '1' if something was given out that is not stored. Returns the loads that name the key and may have read that.
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held and string.match(held, '^%S+') == ARGV[2] then
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.pcall('PUBLISH', NAMES.lease .. ARGV[1] .. '}', '')
end
if ARGV[3] ~= '1' then return {} end
return watchers_of(KEYS[2])
