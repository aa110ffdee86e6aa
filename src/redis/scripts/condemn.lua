-- KEYS: entries that are invalidated. Removes them, and kills what is loaded under their names: how many
-- entries there were.
redis.call('HDEL', 'cachestore:leases', unpack(KEYS))
local removed = 0
for _, key in ipairs(KEYS) do
  removed = removed + redis.call('UNLINK', key)
end
return removed
