-- Removes values. ARGV[5]: a pattern of their keys.
local page = redis.call('SCAN', ARGV[3], 'MATCH', ARGV[5], 'COUNT', ARGV[4], 'TYPE', 'string')
local values, records = {}, {}
for _, key in ipairs(page[2]) do
  if not begins(key, 'cachestore:') then values[#values + 1] = key end
end
local removed = unlink(values)
-- Nothing leads out of the root: what a value depends on is forgotten with it.
if prefix == '' then
  for i, key in ipairs(values) do records[i] = 'cachestore:parents:{' .. key .. '}' end
  unlink(records)
end
return { page[1], removed, marked, {} }
