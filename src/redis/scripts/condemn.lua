-- KEYS: entries that are invalidated. ARGV: how a dependency set's name begins and ends. Removes the
-- entries: how many there were.
local removed = 0
for _, key in ipairs(KEYS) do
  removed = removed + redis.call('UNLINK', key)
end
return removed
