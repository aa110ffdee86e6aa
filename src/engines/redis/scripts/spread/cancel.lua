-- Ends a lease, and removes what was stored under it. KEYS: the value, the slot's leases, and its records. ARGV: the key and the lease.
local key, lease = ARGV[1], ARGV[2]
local above = record_of(KEYS[3], key)
if above and above[1] == lease then redis.call('UNLINK', KEYS[1]) end
local held = redis.call('HGET', KEYS[2], key)
if held and string.match(held, '^%S+') == lease then
  redis.call('HDEL', KEYS[2], key)
  announce(KEYS[2], key)
end
return 1
