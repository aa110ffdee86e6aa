-- KEYS: entries that are invalidated. Removes them, and kills what is loaded under their names: how many
-- entries there were.
local removed = 0
for _, key in ipairs(KEYS) do
  redis.call('UNLINK', 'cachestore:lease:{' .. key .. '}')
  removed = removed + redis.call('UNLINK', key)
end
return removed
