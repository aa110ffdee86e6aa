-- Removes values, and the names that each depended on. ARGV[5]: a pattern of their keys. ARGV[6] and ARGV[7]: how a
-- dependency set's name begins and ends.
local page = redis.call('SCAN', ARGV[3], 'MATCH', ARGV[5], 'COUNT', ARGV[4], 'TYPE', 'string')
local values, below, records = {}, {}, {}
for _, key in ipairs(page[2]) do
  if not begins(key, 'cachestore:') then values[#values + 1] = key end
end
local removed = unlink(values)

-- Nothing leads out of the root. Elsewhere an entry of another namespace may depend on a value: the way up from that
-- value stays until the steps that look for such entries have gone it. See `clear_outside.lua`.
if prefix ~= '' then
  for i, key in ipairs(values) do below[i] = ARGV[6] .. key .. ARGV[7] end
end
for from = 1, #values, 100 do
  local to = math.min(from + 99, #values)
  local all = prefix == '' or redis.call('EXISTS', unpack(below, from, to)) == 0
  for i = from, to do
    if all or redis.call('EXISTS', below[i]) == 0 then
      records[#records + 1] = 'cachestore:parents:{' .. values[i] .. '}'
    end
  end
end
unlink(records)
return { page[1], removed, marked, {} }
