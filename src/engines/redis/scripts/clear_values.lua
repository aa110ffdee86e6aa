-- Removes values.
local page = redis.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', count, 'TYPE', 'string')
local values, removed = {}, {}
for i in ipairs(prefixes) do values[i] = {} end
for _, key in ipairs(page[2]) do
  local place = not begins(key, NAMES.reserved) and place_of(key)
  if place then values[place][#values[place] + 1] = key end
end
for i, keys in ipairs(values) do removed[i] = unlink(keys) end
return { page[1], removed, marked, {}, {} }
